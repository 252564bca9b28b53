"""Connections at rest: when one may be used again, and when it is closed."""

import asyncio
import select
import socket
import struct

import pytest

from app.agents import transport
from app.agents.answer import Reply
from tests.agents.pools import WHOLE, call, pool_to
from tests.agents.support import Received, Scripted, answer, listening, says, scripted


async def test_what_comes_over_a_connection_at_rest_ends_it() -> None:
    """Trap: a 408 that an agent says of an idle connection would be read as the answer to the next call."""

    async def says_more(
        agent: Scripted, request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        del request, reader
        writer.write(WHOLE)
        await writer.drain()
        if len(agent.received) == 1:
            await answered.wait()
            writer.write(answer(408))
            await writer.drain()
            said.set()

    answered, said = asyncio.Event(), asyncio.Event()
    async with scripted(says_more) as agent, pool_to(agent.url) as pool:
        assert await call(pool) == Reply(200, None, b"[1]")
        answered.set()
        await asyncio.wait_for(said.wait(), 10)
        assert await call(pool) == Reply(200, None, b"[1]")
        assert [request.connection for request in agent.received] == [1, 2]


async def test_a_connection_whose_end_the_loop_has_not_read_yet_is_not_used() -> None:
    """Trap: the close is in the socket already, and the loop comes to it only after the request is written."""
    async with scripted(says(WHOLE)) as agent, pool_to(agent.url) as pool:
        assert isinstance(await call(pool), Reply)
        server, client = socket.socketpair()
        with server, client:
            for connection in pool._open:
                assert connection._poll is not None
                connection._poll.register(client, select.POLLIN)  # stands for the connection's own socket
                assert connection.is_quiet()
                server.close()
                assert not connection.is_quiet()
                assert connection.usable
            assert isinstance(await call(pool), Reply)
        assert [request.connection for request in agent.received] == [1, 2]


async def test_a_connection_that_is_reset_at_rest_is_not_used() -> None:
    async def resets(
        agent: Scripted, request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        del request, reader
        writer.write(WHOLE)
        await writer.drain()
        if len(agent.received) == 1:
            await answered.wait()
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()

    answered = asyncio.Event()
    async with scripted(resets) as agent, pool_to(agent.url) as pool:
        assert isinstance(await call(pool), Reply)
        answered.set()
        await asyncio.wait_for(agent.closed.wait(), 10)
        assert isinstance(await call(pool), Reply)
        assert [request.connection for request in agent.received] == [1, 2]


async def test_a_connection_at_rest_is_closed_when_it_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "KEEPALIVE_SECONDS", 0.05)
    async with scripted(says(WHOLE)) as agent, pool_to(agent.url) as pool:
        await asyncio.gather(call(pool), call(pool))
        await asyncio.wait_for(agent.closed.wait(), 10)
        async with asyncio.timeout(10):
            while pool._open:
                await asyncio.sleep(0.01)
        assert pool._sweeping is None
        assert isinstance(await call(pool), Reply)
        assert agent.received[-1].connection == 3


async def test_an_old_connection_is_not_used_though_no_one_has_closed_it_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scripted(says(WHOLE)) as agent, pool_to(agent.url) as pool:
        await call(pool)
        monkeypatch.setattr(transport, "KEEPALIVE_SECONDS", 0.0)
        await call(pool)
        assert [request.connection for request in agent.received] == [1, 2]


async def test_no_more_connections_are_kept_than_asked_for() -> None:
    everyone = asyncio.Barrier(5)

    async def together(
        agent: Scripted, request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        del agent, request, reader
        await everyone.wait()
        writer.write(WHOLE)

    async with scripted(together) as agent, pool_to(agent.url, idle=2) as pool:
        for _ in range(2):
            assert all(isinstance(came, Reply) for came in await asyncio.gather(*(call(pool) for _ in range(5))))
            assert len(pool._idle) == 2
        assert agent.connections == 5 + 3


async def test_a_connection_that_has_not_taken_the_whole_request_is_not_used_again() -> None:
    """Trap: the rest of a body would go out in front of the next request."""
    connections = 0

    async def refuses_early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer(422, b'"no"'))
        await writer.drain()
        await asyncio.Event().wait()

    async with listening(refuses_early) as url, pool_to(url) as pool:
        for _ in range(2):
            assert await call(pool, content=b"x" * 20_000_000) == Reply(422, None, b'"no"')
    assert connections == 2
