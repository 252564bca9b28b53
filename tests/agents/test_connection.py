"""What is an answer on a connection, where it ends, and whether the connection is used again."""

import asyncio
import contextlib
import itertools
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.agents.answer import LARGEST_RESULT, Reply
from app.agents.connection import LARGEST_ANSWER, LARGEST_HEAD, Coming, Connection
from tests.agents.pools import CHUNKED, WHOLE, assert_broken, call, pool_to
from tests.agents.support import Received, Scripted, answer, says, says_and_closes, scripted

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


HINTS = b"HTTP/1.1 103 Hints\r\nContent-Length: 5\r\nRetry-After: 9\r\n\r\n"


@pytest.mark.parametrize("interim", [b"", HINTS])
async def test_an_answer_that_says_nothing_of_its_end_ends_with_the_connection(interim: bytes) -> None:
    said = interim + b"HTTP/1.1 200 OK\r\n\r\n[1,2]"
    async with scripted(says_and_closes(said)) as agent, pool_to(agent.url) as pool:
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
        assert_broken(await call(pool, seconds=60), "too large")
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
    ],
)
async def test_what_is_no_proper_answer_is_broken_at_once_and_its_connection_closed(said: bytes) -> None:
    async with scripted(says(said)) as agent, pool_to(agent.url) as pool:
        assert_broken(await call(pool, seconds=60), "no HTTP")
        await asyncio.wait_for(agent.closed.wait(), 10)
    assert len(agent.received) == 1


@pytest.mark.parametrize("headers", [b"", b"Connection: upgrade\r\nUpgrade: h2c\r\n"])
async def test_another_protocol_is_no_answer(headers: bytes) -> None:
    async with (
        scripted(says(b"HTTP/1.1 101 Switching\r\n" + headers + b"\r\nPRI")) as agent,
        pool_to(agent.url) as pool,
    ):
        assert_broken(await call(pool, seconds=60), "another protocol")
    assert len(agent.received) == 1
