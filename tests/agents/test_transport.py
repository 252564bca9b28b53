"""Our own connections over real sockets: what is an answer, when a connection may be used again, and nothing sent twice."""

import asyncio
import contextlib
import itertools
import random
import select
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.agents import transport
from app.agents.answer import LARGEST_RESULT, NoReply, Reply
from app.agents.connection import LARGEST_ANSWER, LARGEST_HEAD, Coming, Connection
from app.agents.http import attempt
from app.agents.request import Endpoint, Origin, Request
from app.agents.transport import Connections, write
from app.settings import Agent
from tests.agents.support import Received, Script, Scripted, answer, listening, says, says_and_closes, scripted

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
WHOLE = answer(200, b"[1]")


def request_of(method: str = "POST", path: str = "/x", content: bytes | None = b"{}", **headers: str) -> Request:
    return Request(
        "supplier", method, f"http://h{path}", None, f"http://h{path}", path, {"Host": "h", **headers}, content
    )


@contextlib.asynccontextmanager
async def pool_to(url: str, idle: int = 10) -> AsyncIterator[Connections]:
    pool = Connections(Endpoint(Agent("supplier", url)).origin, idle)
    try:
        yield pool
    finally:
        await pool.aclose()


async def call(pool: Connections, method: str = "POST", *, seconds: float = 10.0, **request: Any) -> Reply | NoReply:
    return await attempt(pool, request_of(method, **request), seconds)


def broken(came: Reply | NoReply, detail: str = "") -> None:
    assert isinstance(came, NoReply)
    assert came.sent
    assert detail in came.detail


def not_sent(came: Reply | NoReply, detail: str = "") -> None:
    assert isinstance(came, NoReply)
    assert not came.sent
    assert came.status is None
    assert detail in came.detail


# --- answers ---

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n"
APACHE = ("Upgrade: h2", "Connection: Upgrade, Keep-Alive")

# What is said to a method, its status and body, and whether the connection is used again.
ANSWERS: dict[str, tuple[str, bytes, int, bytes, bool]] = {
    "a length": ("GET", answer(200, b"[1]"), 200, b"[1]", True),
    "a length of nothing": ("POST", answer(422), 422, b"", True),
    "chunks": ("POST", CHUNKED + b"2;x=y\r\n[1\r\n1\r\n]\r\n0\r\n\r\n", 200, b"[1]", True),
    "chunks and a trailer": ("POST", CHUNKED + b"1\r\n1\r\n0\r\nRetry-After: 7\r\n\r\n", 200, b"1", True),
    "no body by its status": ("DELETE", b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
    "no body whatever its length": ("GET", b"HTTP/1.1 304 Same\r\nContent-Length: 9\r\n\r\n", 304, b"", True),
    "no body by its method": ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", 200, b"", False),
    "behind a 100": ("POST", b"HTTP/1.1 100 Continue\r\n\r\n" + WHOLE, 200, b"[1]", True),
    "behind a 103 with headers": (
        "POST",
        b"HTTP/1.1 103 Hints\r\nContent-Length: 5\r\n\r\n" + WHOLE,
        200,
        b"[1]",
        True,
    ),
    "an upgrade on offer": ("POST", answer(200, b"[1]", *APACHE), 200, b"[1]", True),
    "the last on its connection": ("PUT", answer(200, b"[1]", "Connection: close"), 200, b"[1]", False),
    "of HTTP/1.0": ("PUT", answer(200, b"[1]").replace(b"1.1", b"1.0"), 200, b"[1]", False),
    "with a line break behind it": ("PUT", WHOLE + b"\r\n", 200, b"[1]", False),
    "with rubbish behind it": ("PUT", WHOLE + b"x", 200, b"[1]", False),
    "with another answer behind it": ("PUT", WHOLE + answer(422, b"no"), 200, b"[1]", False),
}


@pytest.mark.parametrize("kind", ANSWERS)
async def test_an_answer_is_read_to_its_end_and_nothing_beyond_it_is_used(kind: str) -> None:
    """Trap: what is left over on a connection would be taken for the answer to the next call."""
    method, said, status, body, again = ANSWERS[kind]

    async def first_says(
        agent: Scripted, request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await says(said if len(agent.received) == 1 else answer(200, b"2"))(agent, request, reader, writer)

    async with scripted(first_says) as agent, pool_to(agent.url) as pool:
        came = await call(pool, method)
        assert came == Reply(status, None, body)
        assert await call(pool) == Reply(200, None, b"2")
        assert [request.connection for request in agent.received] == [1, 1 if again else 2]


async def test_an_answer_that_says_nothing_of_its_end_ends_with_the_connection() -> None:
    async with scripted(says_and_closes(b"HTTP/1.1 200 OK\r\n\r\n[1,2]")) as agent, pool_to(agent.url) as pool:
        assert await call(pool) == Reply(200, None, b"[1,2]")


class Line(asyncio.Transport):
    """A transport that carries nothing; its socket is real, so that it can be asked whether something has come."""

    def __init__(self) -> None:
        super().__init__({"socket": socket.socket()})
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        del data

    def abort(self) -> None:
        self.aborted = True

    def get_write_buffer_size(self) -> int:
        return 0


@given(kind=st.sampled_from(sorted(ANSWERS)), cuts=st.lists(st.integers(0, 200)))
def test_an_answer_is_the_same_however_the_network_cuts_it(kind: str, cuts: list[int]) -> None:
    method, said, status, body, again = ANSWERS[kind]

    async def read() -> None:
        line, connection, coming = Line(), Connection(), Coming()
        connection.connection_made(line)
        asked = connection.ask(b"", coming, bodiless=method == "HEAD")
        places = sorted({0, *(cut % len(said) for cut in cuts), len(said)})
        for begin, end in itertools.pairwise(places):
            connection.data_received(said[begin:end])
        await asked
        assert (coming.status, bytes(coming.body), coming.retry_after) == (status, body, None)
        assert connection.usable is again
        assert line.aborted is not again
        line.get_extra_info("socket").close()

    asyncio.run(read())


@pytest.mark.parametrize("size", [LARGEST_RESULT, LARGEST_RESULT + 1])
async def test_a_body_is_read_to_a_little_over_what_is_kept_of_it(size: int) -> None:
    async with scripted(says(answer(200, b"1" * size))) as agent, pool_to(agent.url) as pool:
        came = await call(pool)
        assert isinstance(came, Reply)
        assert len(came.body) == size
        await call(pool)
        assert [request.connection for request in agent.received] == [1, 1 if size == LARGEST_RESULT else 2]


async def test_several_retry_afters_are_one_that_cannot_be_read() -> None:
    said = answer(503, b"", "Retry-After: 1", "retry-after: 2")
    async with scripted(says(said)) as agent, pool_to(agent.url) as pool:
        assert await call(pool) == Reply(503, "1, 2", b"")


ENDLESS = {
    "a reason": (b"HTTP/1.1 200 ", b"y" * 1000),
    "one header": (b"HTTP/1.1 200 OK\r\nX: ", b"y" * 1000),
    "many headers": (b"HTTP/1.1 200 OK\r\n", b"X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n" * 16),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 40),
    "the extension of a chunk": (CHUNKED + b"1;", b"y" * 1000),
    "trailers": (CHUNKED + b"0\r\n", b"X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n" * 16),
}


@pytest.mark.parametrize("kind", ENDLESS)
async def test_an_answer_without_end_is_given_up_long_before_the_time_is_over(kind: str) -> None:
    begins, goes_on = ENDLESS[kind]
    said = 0

    async def endless(
        agent: Scripted, request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        nonlocal said
        del agent, request, reader
        writer.write(begins)
        with contextlib.suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(goes_on)
                said += len(goes_on)
                await writer.drain()

    async with scripted(endless) as agent, pool_to(agent.url) as pool:
        broken(await call(pool, seconds=60), "too large")
        await asyncio.wait_for(agent.closed.wait(), 10)
    assert LARGEST_HEAD < said < 20 * LARGEST_ANSWER  # what the sockets hold is lost with them
    assert len(agent.received) == 1


@pytest.mark.parametrize(
    "said",
    [
        b"220 mail.example ESMTP\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\nPRI",
    ],
)
async def test_what_is_no_proper_answer_is_broken_at_once_and_its_connection_closed(said: bytes) -> None:
    async with scripted(says(said)) as agent, pool_to(agent.url) as pool:
        broken(await call(pool, seconds=60), "no HTTP")
        await asyncio.wait_for(agent.closed.wait(), 10)
    assert len(agent.received) == 1


# --- requests ---


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
        not_sent(await attempt(pool, request, 10), "a character that cannot stand in the head of a request")
    assert agent.connections == 0


async def test_a_path_with_a_space_does_not_go_out() -> None:
    async with scripted(says(WHOLE)) as agent, pool_to(agent.url) as pool:
        not_sent(await call(pool, path="/x HTTP/1.1"))
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


# --- connections at rest ---


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


# --- connections that do not come about ---


async def test_a_connection_that_was_closed_before_anything_was_written_has_sent_nothing() -> None:
    async def stillborn(self: Connections, address: str) -> Connection:
        connection = await connect(self, address)
        connection.abort()
        return connection

    connect = Connections._connect_to
    async with scripted(says(WHOLE)) as agent, pool_to(agent.url) as pool:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Connections, "_connect_to", stillborn)
            not_sent(await call(pool), "closed the connection before anything was sent")
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
        not_sent(await call(pool), "no connection: ")


async def test_a_name_that_is_not_found_has_the_systems_words_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async with pool_to("http://supplier.example") as pool:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", fails)
        not_sent(await call(pool), "no connection: Name or service not known")


# --- endings ---


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
        broken(await calling, "no answer")
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


# --- never twice ---


class Unreliable:
    """An agent that breaks off at any place of a call, and keeps a count of what has reached it.

    Which place it is, a request's number says together with the seed.
    """

    PLACES = (
        "whole",
        "whole",
        "whole",
        "whole, behind a 100",
        "whole, then closed",
        "whole, then reset",
        "whole, and more",
        "closed",
        "reset",
        "half a status",
        "half the headers",
        "half a body",
        "half a chunk",
        "rubbish",
        "cancelled",
    )

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.arrived: Counter[str] = Counter()
        self.tasks: dict[str, asyncio.Task[Reply | NoReply]] = {}
        self.chance = random.Random(seed)

    def place(self, number: str) -> str:
        return random.Random(f"{self.seed} {number}").choice(self.PLACES)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while self.chance.random() > 0.05:  # or it closes before it has read anything
            head = await reader.readuntil(b"\r\n\r\n")
            number = head.split(b" ")[1].decode().strip("/")
            self.arrived[number] += 1
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length or b"0"))
            if not await self.say(number, writer):
                return

    async def say(self, number: str, writer: asyncio.StreamWriter) -> bool:
        whole = answer(200, number.encode())
        said = {
            "whole, behind a 100": b"HTTP/1.1 100 Continue\r\n\r\n" + whole,
            "whole, and more": whole + answer(200, b'"of no one"'),
            "closed": b"",
            "reset": b"",
            "half a status": b"HTTP/1.1 20",
            "half the headers": b"HTTP/1.1 200 OK\r\nContent-Le",
            "half a body": whole[:-1],
            "half a chunk": CHUNKED + b"ff\r\nabc",
            "rubbish": b"\x16\x03\x01\r\n\r\n",
        }
        place = self.place(number)
        writer.write(
            said.get(place, whole) if place != "cancelled" else b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1"
        )
        await writer.drain()
        if place == "cancelled":
            self.tasks[number].cancel()
        if "reset" in place:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
        return place in {"whole", "whole, behind a 100"}


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_breaks_each_call_arrives_once_at_most_and_says_the_truth_of_it(seed: int) -> None:
    """Traps: a second try that no one asked for; an answer that belongs to another call; an arrival that is denied."""
    agent = Unreliable(seed)
    ended: dict[str, Reply | NoReply | BaseException] = {}
    slots = asyncio.Semaphore(8)

    async def one(pool: Connections, number: str) -> Reply | NoReply:
        async with slots:
            method = METHODS[int(number) % len(METHODS)]
            return await call(pool, method, path=f"/{number}", content=None if method == "GET" else b"x" * 1000)

    async with listening(agent.serve) as url, pool_to(url) as pool:
        for number in map(str, range(250)):
            agent.tasks[number] = asyncio.create_task(one(pool, number))
        ended.update(zip(agent.tasks, await asyncio.gather(*agent.tasks.values(), return_exceptions=True), strict=True))
    assert set(agent.arrived.values()) == {1}
    for number, came in ended.items():
        match came:
            case Reply():
                assert came.body == number.encode()
                assert agent.place(number).startswith("whole")
            case NoReply(sent=False):
                assert number not in agent.arrived
            case NoReply():
                assert number not in agent.arrived or agent.place(number) not in {"whole", "whole, behind a 100"}
            case _:
                assert isinstance(came, asyncio.CancelledError)
                assert agent.place(number) == "cancelled"


STAGES: dict[str, Script] = {
    "after the request": says_and_closes(b""),
    "in the headers": says_and_closes(b"HTTP/1.1 200 OK\r\nContent"),
    "in the body": says_and_closes(WHOLE[:-1]),
}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("method", METHODS)
async def test_a_connection_that_breaks_on_its_second_call_has_carried_it_once(method: str, stage: str) -> None:
    """Trap 6: on a connection that is used again and drops after the request, some clients send PUT and DELETE twice."""

    async def second_breaks(
        agent: Scripted, request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await (says(WHOLE) if len(agent.received) == 1 else STAGES[stage])(agent, request, reader, writer)

    async with scripted(second_breaks) as agent, pool_to(agent.url) as pool:
        assert isinstance(await call(pool, method), Reply)
        broken(await call(pool, method))
    assert [request.connection for request in agent.received] == [1, 1]


def test_a_pool_needs_no_running_loop_to_be_made() -> None:
    assert Connections(Origin("http", "h", 80), 1)._idle == Connections(Origin("http", "h", 80), 1)._idle
