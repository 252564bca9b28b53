"""Calls that were sent and whose outcome nobody knows: each is unknown, and none is ever sent twice."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from dataclasses import replace

import pytest

from app.saga.signals import StepDone
from tests.agents.calling import BOUGHT, agents_of, call, call_once, never_reads, unknown
from tests.agents.pools import METHODS
from tests.agents.support import (
    BUY,
    Received,
    Script,
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
        assert unknown(await call_once(agent.url, method=method))
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
        assert unknown(await call(agents, method=method))
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
        assert unknown(await call_once(url))
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
