"""Calls over real sockets: what goes out, how an answer is read, and what is not done behind the caller's back."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from app.agents.transport import KEEPALIVE_SECONDS
from app.saga.definition import HttpCall
from app.saga.signals import StepDone, StepRejected
from tests.agents.calling import BOUGHT, agents_of, call, call_once, unknown
from tests.agents.pools import METHODS
from tests.agents.support import (
    BUY,
    Received,
    Scripted,
    answer,
    document_of,
    listening,
    says,
    says_and_closes,
    says_and_waits,
    scripted,
    sending_of,
)
from tests.builders import NOW


@pytest.mark.parametrize("method", METHODS)
async def test_a_call_goes_out_once_with_its_headers_and_body(method: str) -> None:
    async with scripted(says(BOUGHT)) as agent:
        exchange = await call_once(f"{agent.url}/api", method=method)
    assert exchange.answer == StepDone({"ref": "R-1"})
    assert exchange.response == {"status": 200, "body": {"ref": "R-1"}}
    assert [(request.method, request.target) for request in agent.received] == [(method, "/api/purchases")]
    headers = agent.received[0].headers
    assert headers["idempotency-key"].endswith(":purchase:do")
    assert headers["makegood-attempt"] == "1"
    assert headers["traceparent"].startswith("00-")
    assert headers["host"] == agent.url.removeprefix("http://")
    assert (agent.received[0].body == b"") == (method == "GET")


async def test_a_quoted_segment_reaches_the_agent_as_it_was_quoted() -> None:
    path = HttpCall("supplier", "POST", "/p/{event.id}?again={event.id}")
    async with scripted(says(BOUGHT)) as agent, agents_of(agent.url) as agents:
        sending = sending_of(path)
        await agents.call(agents.render(sending, document_of(sending, {"id": "a/../b?c#d%2e ä"}), None), sending)
    segment = "a%2F..%2Fb%3Fc%23d%252e%20%C3%A4"
    assert agent.received[0].target == f"/p/{segment}?again={segment}"


async def test_a_chunked_answer_behind_a_100_continue_is_read() -> None:
    chunks = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n"
    async with scripted(says(chunks)) as agent:
        assert (await call_once(agent.url)).answer == StepDone([1, 2])


async def test_an_answer_that_ends_with_its_connection_is_whole() -> None:
    async with scripted(says_and_closes(b'HTTP/1.1 200 OK\r\n\r\n{"ref": 1}')) as agent:
        assert (await call_once(agent.url)).answer == StepDone({"ref": 1})


async def test_a_large_answer_is_done_without_being_read_to_its_end() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n"
    async with scripted(says_and_waits(head + b"x" * 70_000)) as agent:
        exchange = await call_once(agent.url)
    assert exchange.answer == StepDone(None)
    assert exchange.response is not None
    assert exchange.response["body"].endswith("[cut]")


async def test_redirects_are_not_followed_and_are_unknown() -> None:
    async with scripted(says(answer(307, b"", "Location: /elsewhere"))) as agent:
        assert "answered 307" in unknown(await call_once(agent.url))
    assert len(agent.received) == 1


async def test_cookies_are_not_kept_between_calls() -> None:
    sets_cookie = says(answer(200, b"{}", "Set-Cookie: session=abc; Path=/"))
    async with scripted(sets_cookie) as agent, agents_of(agent.url) as agents:
        await call(agents)
        await call(agents)
    assert [request.headers.get("cookie") for request in agent.received] == [None, None]


async def test_the_environments_proxies_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trap: a proxy below us may send again by itself."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    async with scripted(says(BOUGHT)) as agent:
        assert isinstance((await call_once(agent.url)).answer, StepDone)


async def test_a_connection_is_used_again() -> None:
    async with scripted(says(BOUGHT)) as agent, agents_of(agent.url) as agents:
        for _ in range(5):
            await call(agents)
    assert agent.connections == 1
    assert KEEPALIVE_SECONDS < 5, "servers close theirs after 5 s"


async def test_an_answer_that_refuses_while_the_body_is_still_sent_is_read() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer(422, b'"no"', "Connection: close"))
        await writer.drain()
        await reader.read()
        writer.close()

    async with listening(refuse) as url:
        exchange = await call_once(url)
    assert isinstance(exchange.answer, StepRejected)


async def test_many_calls_at_once_each_get_their_own_answer() -> None:
    async def echo(
        agent: Scripted, request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        del agent, reader
        await asyncio.sleep(0)
        writer.write(answer(200, request.body))

    async with scripted(echo) as agent, agents_of(agent.url, max_concurrency=20) as agents:

        async def one(number: int) -> Any:
            sending = sending_of(replace(BUY, body="event"))
            request = agents.render(sending, document_of(sending, number), None)
            with await agents.gate("supplier").slot(10):
                return (await agents.call(request, sending)).answer

        answers = await asyncio.gather(*(one(number) for number in range(200)))
    assert answers == [StepDone(number) for number in range(200)]
    assert len(agent.received) == 200
    assert agent.connections <= 20


async def test_it_is_known_how_long_ago_a_call_went_out() -> None:
    """`in_flight` counts from there: not from the record before it, and not from its timeout."""
    async with scripted(says_and_waits(b"")) as agent, agents_of(agent.url) as agents:
        unanswered = await call(agents, timeout=0.2)
    assert unanswered.sent_at is not None
    assert unanswered.sent_at < NOW, "the clock of the test stands still, the event loop's does not"
