"""Calls over real sockets, to an agent that behaves badly: each ends as what it was, and none is ever sent twice."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from app.agents import Agents, Exchange
from app.agents.http import NEVER_SENT
from app.agents.transport import KEEPALIVE_SECONDS
from app.saga.definition import HttpCall
from app.saga.model import Action, Outcome
from app.saga.signals import StepDone, StepRejected, StepUnavailable, StepUnknown
from tests.agents.support import (
    BUY,
    Received,
    Script,
    Scripted,
    agents_with,
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

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
BOUGHT = answer(200, b'{"ref":"R-1"}')


@contextlib.asynccontextmanager
async def agents_of(url: str, **settings: Any) -> AsyncIterator[Agents]:
    agents = agents_with(url, **settings)
    try:
        yield agents
    finally:
        await agents.aclose()


async def call(agents: Agents, *, method: str = "POST", timeout: float = 5.0, action: Action = Action.DO) -> Exchange:
    sending = sending_of(replace(BUY, method=method), action, timeout=timeout)
    return await agents.call(agents.render(sending, document_of(sending), None), sending)


async def never_reads(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Holds a connection and does not even read from it."""
    del reader
    writer.transport.pause_reading()  # type: ignore[attr-defined]  # every transport of a socket has it
    await asyncio.Event().wait()


async def call_once(url: str, **options: Any) -> Exchange:
    async with agents_of(url) as agents:
        return await call(agents, **options)


def unknown(exchange: Exchange) -> str:
    """The detail of an exchange that must have ended as unknown."""
    assert isinstance(exchange.answer, StepUnknown)
    assert exchange.outcome is Outcome.UNKNOWN
    assert exchange.answer.error.kind is Outcome.UNKNOWN
    return exchange.answer.error.detail


def not_sent(exchange: Exchange) -> str:
    """The detail of an exchange that must have ended before anything was sent."""
    assert isinstance(exchange.answer, StepUnavailable)
    assert not exchange.answer.arrived
    assert exchange.outcome is Outcome.UNAVAILABLE
    assert exchange.response is None
    return exchange.answer.error.detail


# --- answers ---


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


# --- not sent ---


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_a_refused_connection_was_never_sent() -> None:
    detail = not_sent(await call_once(f"http://127.0.0.1:{unused_port()}"))
    assert detail.startswith("no connection: ")
    assert "refused" in detail.lower()


async def test_a_connection_that_does_not_come_about_in_time_was_never_sent() -> None:
    """Trap: time that ran out before anything was sent is no unknown outcome, however it is counted."""
    with socket.socket() as full, contextlib.ExitStack() as waiting:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):  # more than its queue takes: the next one is not even answered
            client = waiting.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        exchange = await call_once(f"http://127.0.0.1:{full.getsockname()[1]}", timeout=0.2)
    assert not_sent(exchange) == "no connection within 0.2 s"


async def test_a_host_that_cannot_even_be_looked_up_was_never_sent() -> None:
    not_sent(await call_once(f"http://{'a' * 64}.example"))


async def test_a_tls_handshake_that_fails_was_never_sent() -> None:
    async def no_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    async with listening(no_tls) as url:
        exchange = await call_once(url.replace("http:", "https:"))
    assert not_sent(exchange).startswith("no connection: ")


async def test_a_tls_handshake_that_does_not_end_was_never_sent() -> None:
    async with listening(never_reads) as url:
        exchange = await call_once(url.replace("http:", "https:"), timeout=0.2)
    assert not_sent(exchange) == "no connection within 0.2 s"


# --- sent, and nobody knows ---


def reset(agent: Scripted, request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Closes the connection with a RST."""
    del agent, request, reader
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def resets(
    agent: Scripted, request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    reset(agent, request, reader, writer)


BROKEN: dict[str, Callable[[], Script]] = {
    "closes after the request": lambda: says_and_closes(b""),
    "resets after the request": lambda: resets,
    "garbage": lambda: says_and_closes(b"\x00\x01 hello\r\n\r\n"),
    "half a status line": lambda: says_and_closes(b"HTTP/1.1 20"),
    "half the headers": lambda: says_and_closes(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "2xx and half a body": lambda: says_and_closes(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"ref":'),
    "4xx and half a body": lambda: says_and_closes(b"HTTP/1.1 422 No\r\nContent-Length: 100\r\n\r\nsold"),
    "429 and half a body": lambda: says_and_closes(b"HTTP/1.1 429 No\r\nContent-Length: 100\r\n\r\nwait"),
    "half a chunk": lambda: says_and_closes(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nabc"),
    "a bad chunk": lambda: says_and_closes(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n"),
    "two lengths": lambda: says_and_closes(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
    "huge headers": lambda: says_and_closes(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000 + b"\r\n\r\n"),
    "101": lambda: says_and_closes(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"),
    "100 and no more": lambda: says_and_closes(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "500": lambda: says(answer(500, b"oops")),
    "503": lambda: says(answer(503)),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("fault", BROKEN)
async def test_a_call_that_breaks_after_it_was_sent_is_unknown_and_was_sent_once(fault: str, method: str) -> None:
    """Traps: a client that sends PUT and DELETE again by itself; a broken answer that is taken for a refusal."""
    async with scripted(BROKEN[fault]()) as agent:
        unknown(await call_once(agent.url, method=method))
        assert len(agent.received) == 1


@pytest.mark.parametrize("method", METHODS)
async def test_a_reused_connection_that_drops_after_the_request_is_unknown_and_was_sent_once(method: str) -> None:
    """Trap: on a reused connection that drops, some clients send PUT and DELETE a second time."""

    async def second_drops(
        agent: Scripted, request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        del request, reader
        if len(agent.received) == 1:
            writer.write(BOUGHT)
        else:
            writer.close()

    async with scripted(second_drops) as agent, agents_of(agent.url) as agents:
        assert isinstance((await call(agents, method=method)).answer, StepDone)
        unknown(await call(agents, method=method))
        assert [request.connection for request in agent.received] == [1, 1]


@pytest.mark.parametrize("method", METHODS)
async def test_a_connection_that_the_agent_closed_while_it_idled_is_not_used(method: str) -> None:
    async with scripted(says_and_closes(BOUGHT)) as agent, agents_of(agent.url) as agents:
        assert isinstance((await call(agents, method=method)).answer, StepDone)
        await asyncio.wait_for(agent.closed.wait(), 5)
        assert isinstance((await call(agents, method=method)).answer, StepDone)
    assert [request.connection for request in agent.received] == [1, 2]


async def test_an_agent_that_closes_before_it_reads_leaves_the_call_unknown() -> None:
    connections = 0

    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        del reader
        nonlocal connections
        connections += 1
        writer.close()

    async with listening(close) as url:
        unknown(await call_once(url))
    assert connections == 1


@pytest.mark.parametrize(
    ("said", "detail", "status"),
    [
        (b"", "no answer within 0.5 s", None),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "no answer within 0.5 s", None),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "no answer within 0.5 s", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", "answered 200, but not to its end within 0.5 s", 200),
        (b"HTTP/1.1 422 No\r\nContent-Length: 9\r\n\r\n{", "answered 422, but not to its end within 0.5 s", 422),
    ],
)
async def test_an_answer_that_does_not_end_in_time_is_unknown(said: bytes, detail: str, status: int | None) -> None:
    async def second_waits(
        agent: Scripted, request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        first = len(agent.received) == 1
        await (says(BOUGHT) if first else says_and_waits(said))(agent, request, reader, writer)

    async with scripted(second_waits) as agent, agents_of(agent.url) as agents:
        await call(agents)  # so that a slow machine's time to connect is not what runs out
        exchange = await call(agents, timeout=0.5)
        assert unknown(exchange) == detail
        assert exchange.response == (None if status is None else {"status": status, "body": "{"})
        assert len(agent.received) == 2


async def test_the_timeout_is_of_the_whole_attempt_however_often_a_byte_comes() -> None:
    async def drips(
        agent: Scripted, request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        del request, reader
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not agent.over.is_set():
            writer.write(b" ")
            await writer.drain()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(agent.over.wait(), 0.02)

    began = asyncio.get_running_loop().time()
    async with scripted(drips) as agent:
        exchange = await call_once(agent.url, timeout=0.5)
    assert not isinstance(exchange.answer, StepDone)
    assert asyncio.get_running_loop().time() - began < 5


async def test_a_body_that_the_agent_does_not_take_is_unknown() -> None:
    """Trap: part of a request that was being written may have arrived."""
    async with listening(never_reads) as url, agents_of(url) as agents:
        sending = sending_of(replace(BUY, body="event"), timeout=0.5)
        request = agents.render(sending, document_of(sending, "x" * 20_000_000), None)
        exchange = await agents.call(request, sending)
    assert unknown(exchange) == "no answer within 0.5 s"


async def test_a_cancelled_call_says_nothing_and_its_connection_is_not_used_again() -> None:
    """Trap: a shutdown that cancels a call leaves it unknown by the record of it, never failed."""

    async def first_waits(
        agent: Scripted, request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        del request, reader
        if len(agent.received) == 1:
            arrived.set()
            await agent.over.wait()
        writer.write(BOUGHT)

    arrived = asyncio.Event()
    async with scripted(first_waits) as agent, agents_of(agent.url) as agents:
        calling = asyncio.create_task(call(agents))
        await asyncio.wait_for(arrived.wait(), 5)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        assert isinstance((await call(agents)).answer, StepDone)
        assert [request.connection for request in agent.received] == [1, 2]


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
            async with agents.gate("supplier").slot(10):
                return (await agents.call(request, sending)).answer

        answers = await asyncio.gather(*(one(number) for number in range(200)))
    assert answers == [StepDone(number) for number in range(200)]
    assert len(agent.received) == 200
    assert agent.connections <= 20


# --- every failure that the library knows ---

# True: nothing was sent. Whatever is new in the library is missing here, and fails the test below.
FAILURES = {
    httpx.CloseError: False,
    httpx.ConnectError: True,
    httpx.ConnectTimeout: True,
    httpx.CookieConflict: False,
    httpx.DecodingError: False,
    httpx.HTTPError: False,
    httpx.HTTPStatusError: False,
    httpx.InvalidURL: False,
    httpx.LocalProtocolError: False,
    httpx.NetworkError: False,
    httpx.PoolTimeout: True,
    httpx.ProtocolError: False,
    httpx.ProxyError: False,
    httpx.ReadError: False,
    httpx.ReadTimeout: False,
    httpx.RemoteProtocolError: False,
    httpx.RequestError: False,
    httpx.RequestNotRead: False,
    httpx.ResponseNotRead: False,
    httpx.StreamClosed: False,
    httpx.StreamConsumed: False,
    httpx.StreamError: False,
    httpx.TimeoutException: False,
    httpx.TooManyRedirects: False,
    httpx.TransportError: False,
    httpx.UnsupportedProtocol: True,
    httpx.WriteError: False,
    httpx.WriteTimeout: False,
}
FOREIGN = [OSError, ConnectionResetError, TimeoutError, RuntimeError, ValueError, KeyError, EOFError]


def test_every_failure_of_the_library_is_in_the_table() -> None:
    known = {kind for kind in vars(httpx).values() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert known == FAILURES.keys()
    assert {kind for kind, never_sent in FAILURES.items() if never_sent} == set(NEVER_SENT)


class Fails(httpx.AsyncBaseTransport):
    """A transport whose every call fails in the same way."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.calls = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        del request
        self.calls += 1
        raise self.error


def made(kind: type[Exception]) -> Exception:
    if kind is httpx.HTTPStatusError:
        return httpx.HTTPStatusError("x", request=httpx.Request("GET", "http://h"), response=httpx.Response(200))
    if kind in {httpx.StreamConsumed, httpx.StreamClosed, httpx.RequestNotRead, httpx.ResponseNotRead}:
        return kind()
    return kind("it failed")


@pytest.mark.parametrize("kind", [*FAILURES, *FOREIGN], ids=lambda kind: kind.__name__)
async def test_a_failure_is_not_sent_only_where_it_says_so_and_is_never_tried_again(kind: type[Exception]) -> None:
    """Trap: the wrong class of an error turns a purchase that was made into one that is made again, or forgotten."""
    transport = Fails(made(kind))
    exchange = await call(agents_with(transport=transport))
    if FAILURES.get(kind):
        not_sent(exchange)
    else:
        unknown(exchange)
    assert transport.calls == 1


async def test_it_is_known_how_long_ago_a_call_went_out() -> None:
    """`in_flight` counts from there: not from the record before it, and not from its timeout."""
    async with scripted(says_and_waits(b"")) as agent, agents_of(agent.url) as agents:
        unanswered = await call(agents, timeout=0.2)
    assert unanswered.sent_at is not None
    assert unanswered.sent_at < NOW, "the clock of the test stands still, the event loop's does not"


async def test_what_never_went_out_has_no_time_of_it() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # it does not listen
        async with agents_of(f"http://127.0.0.1:{taken.getsockname()[1]}") as agents:
            assert (await call(agents)).sent_at is None
