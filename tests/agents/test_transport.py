"""Our own connections over real sockets: how a request is written, how a connection comes about, and how a pool ends."""

import asyncio
import contextlib
import errno
import os
import socket

import pytest

from app.agents import transport
from app.agents.answer import NoReply, Reply
from app.agents.connection import Connection
from app.agents.http import attempt
from app.agents.request import Endpoint, Origin
from app.agents.transport import Connections, write
from app.settings import Agent
from tests.agents.pools import WHOLE, assert_broken, assert_not_sent, call, pool_to, request_of
from tests.agents.support import Received, Scripted, answer, listening, says, scripted


def test_a_request_is_written_as_it_is() -> None:
    assert write(request_of(content=b'{"a":1}', X="y")) == (
        b'POST /x HTTP/1.1\r\nHost: h\r\nX: y\r\nContent-Length: 7\r\n\r\n{"a":1}'
    )
    assert write(request_of("GET", "/a%20b?c=d", None)) == b"GET /a%20b?c=d HTTP/1.1\r\nHost: h\r\n\r\n"
    assert write(request_of("DELETE", content=b"")) == b"DELETE /x HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("sign", ["\r\nX: y", "\n", "\r", "\0", "\x85", "ä", "\u2028"])
@pytest.mark.parametrize("place", ["method", "path", "name", "value"])
async def test_nothing_that_would_make_another_request_of_it_goes_out(place: str, sign: str) -> None:
    bad = {place: sign}
    name, value = f"A{bad.get('name', '')}", f"b{bad.get('value', '')}"
    request = request_of(f"POST{bad.get('method', '')}", f"/x{bad.get('path', '')}", b"{}", **{name: value})
    async with scripted(says(WHOLE)) as agent, pool_to(agent.url) as pool:
        assert_not_sent(await attempt(pool, request, 10), "a character that cannot stand in the head of a request")
    assert agent.connections == 0


async def test_a_path_with_a_space_does_not_go_out() -> None:
    async with scripted(says(WHOLE)) as agent, pool_to(agent.url) as pool:
        assert_not_sent(await call(pool, path="/x HTTP/1.1"))
    assert agent.connections == 0


@pytest.mark.parametrize(
    ("url", "authority"),
    [
        ("http://H.example", "h.example"),
        ("http://u:p@h.example:80/api", "h.example"),
        ("https://h.example:443", "h.example"),
        ("https://h.example:80", "h.example:80"),
        ("http://[::1]:8080", "[::1]:8080"),
        ("http://[::1]", "[::1]"),
    ],
)
def test_the_host_is_named_with_its_port_where_it_is_not_the_usual_one(url: str, authority: str) -> None:
    assert Endpoint(Agent("supplier", url)).origin.authority == authority
    assert Endpoint(Agent("supplier", url)).headers(content=False)["Host"] == authority


async def test_a_connection_that_was_closed_before_anything_was_written_has_sent_nothing() -> None:
    async def stillborn(self: Connections, address: str) -> Connection:
        connection = await connect(self, address)
        connection.abort()
        return connection

    connect = Connections._connect_to
    async with scripted(says(WHOLE)) as agent, pool_to(agent.url) as pool:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Connections, "_connect_to", stillborn)
            assert_not_sent(await call(pool), "closed the connection before anything was sent")
    assert agent.received == []


async def test_an_agent_that_speaks_first_gets_nothing_or_leaves_the_call_broken() -> None:
    async def greets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        del reader
        writer.write(answer(200, b"[1]"))
        writer.close()

    async with listening(greets) as url, pool_to(url) as pool:
        first, second = await call(pool), await call(pool)
    # Read after our request went out, it is its answer to all appearances; no one can tell.
    assert all(isinstance(came, NoReply) or came == Reply(200, None, b"[1]") for came in (first, second))


def resolving(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Makes every name one of these addresses."""

    async def found(host: str, port: int, **_: object) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        assert host == "supplier.example"
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (address, port)) for address in addresses]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", found)


async def test_the_next_address_is_tried_where_one_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, "127.0.0.2", "127.0.0.1", "127.0.0.1")
    async with scripted(says(WHOLE)) as agent, pool_to(agent.url.replace("127.0.0.1", "supplier.example")) as pool:
        assert isinstance(await call(pool), Reply)
        assert len(agent.received) == 1


async def test_the_next_address_is_tried_where_one_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = asyncio.Event()

    async def connect(self: Connections, address: str) -> Connection:
        if address == "127.0.0.2":
            silent.set()
            await asyncio.Event().wait()
        return await connect_to(self, address)

    connect_to = Connections._connect_to
    monkeypatch.setattr(Connections, "_connect_to", connect)
    monkeypatch.setattr(transport, "NEXT_ADDRESS_SECONDS", 0.05)
    resolving(monkeypatch, "127.0.0.2", "127.0.0.1")
    async with scripted(says(WHOLE)) as agent, pool_to(agent.url.replace("127.0.0.1", "supplier.example")) as pool:
        assert isinstance(await call(pool), Reply)
        assert silent.is_set()
        assert len(agent.received) == 1


async def test_where_no_address_answers_nothing_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    resolving(monkeypatch, "127.0.0.1", "127.0.0.2")
    async with pool_to(f"http://supplier.example:{port}") as pool:
        assert_not_sent(await call(pool), "no connection: ")


async def test_a_name_that_is_not_found_has_the_systems_words_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async with pool_to("http://supplier.example") as pool:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", fails)
        assert_not_sent(await call(pool), "no connection: Name or service not known")


async def test_the_systems_own_limit_is_not_taken_for_the_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(self: Connections, address: str) -> Connection:
        del self, address
        raise TimeoutError(errno.ETIMEDOUT, "the system's own words")

    monkeypatch.setattr(Connections, "_connect_to", fails)
    async with pool_to("http://127.0.0.1:1") as pool:
        assert_not_sent(await call(pool), f"no connection: {os.strerror(errno.ETIMEDOUT)}")


async def test_closing_the_pool_breaks_what_is_under_way_and_leaves_no_connection() -> None:
    async def waits(
        agent: Scripted, request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        del reader, writer
        if request.target == "/waits":
            arrived.set()
            await agent.over.wait()

    async def script(
        agent: Scripted, request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await waits(agent, request, reader, writer)
        writer.write(WHOLE)

    arrived = asyncio.Event()
    async with scripted(script) as agent, pool_to(agent.url) as pool:
        calling = asyncio.create_task(call(pool, path="/waits"))
        await asyncio.wait_for(arrived.wait(), 10)
        assert isinstance(await call(pool), Reply)
        await pool.aclose()
        assert_broken(await calling, "no answer")
        await asyncio.wait_for(agent.closed.wait(), 10)
        assert not pool._open
        assert not pool._idle


async def test_a_call_that_ends_behind_the_pool_keeps_no_connection() -> None:
    async with scripted(says(WHOLE)) as agent, pool_to(agent.url) as pool:
        await pool.aclose()
        assert isinstance(await call(pool), Reply)
        assert not pool._idle
        await asyncio.wait_for(agent.closed.wait(), 10)


async def test_a_cancelled_call_closes_its_connection() -> None:
    async def waits(
        agent: Scripted, request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        del agent, request, writer
        arrived.set()
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        closed.set()

    arrived, closed = asyncio.Event(), asyncio.Event()
    async with scripted(waits) as agent, pool_to(agent.url) as pool:
        calling = asyncio.create_task(call(pool))
        await asyncio.wait_for(arrived.wait(), 10)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        await asyncio.wait_for(closed.wait(), 10)


def test_a_pool_needs_no_running_loop_to_be_made() -> None:
    assert Connections(Origin("http", "h", 80), 1)._idle == Connections(Origin("http", "h", 80), 1)._idle
