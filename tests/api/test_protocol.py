"""A request whose headers do not end, one that does not come in time, and one that offers another protocol."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from app.api import protocol
from app.api.edge import Edge
from app.api.protocol import LARGEST_HEAD, BoundedProtocol


async def nothing(scope: object, receive: object, send: object) -> None:
    """An application that is never reached."""


WHOLE = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\npaid"


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """An application that answers with the body, where all of it comes."""
    del scope
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body, more = body + message["body"], message["more_body"]
    length = str(len(body)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to an application."""
    config = uvicorn.Config(app, http=BoundedProtocol, lifespan="off", log_config=None)
    config.load()
    state = uvicorn.Server(config).server_state
    state.default_headers = [(b"date", b"today")]
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: BoundedProtocol(config, state, {}), "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        try:
            yield reader, writer
        finally:
            writer.close()


def refusal(answer: bytes, status: int) -> dict[str, Any]:
    """The problem in an answer that is its connection's last."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"connection: close" in head
    said: dict[str, Any] = json.loads(body)
    assert said["status"] == status
    assert b"x-request-id: %b\r\n" % said["request_id"].encode() in head
    return said


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is waited for."""
    monkeypatch.setattr(protocol, "RECEIVE_TIMEOUT", 0.05)


async def test_headers_without_an_end_are_turned_away() -> None:
    async with serving(nothing) as (reader, writer):
        # Not a byte more than the server reads: what it leaves unread would make its end of the connection a reset.
        writer.write(b"GET / HTTP/1.1\r\n".ljust(LARGEST_HEAD + 1, b"x"))
        answer = await asyncio.wait_for(reader.read(), 10)
    assert refusal(answer, 431)["code"] == "request-header-fields-too-large"


@pytest.mark.parametrize("body", [b"paid", b"\r\nUpgrade: h2c\r\n", b"x\r\n\r\nupgrade: y\r\n\r\n"])
async def test_a_body_is_read_whatever_protocol_is_offered_with_it(body: bytes) -> None:
    """The default of Java's own client, for one, over a connection without TLS."""
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    async with serving(echo) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\n" + offer + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        answered = await asyncio.wait_for(reader.readexactly(len(body)), 10)
    assert head.startswith(b"HTTP/1.1 200 ")
    assert answered == body


OFFERING = b"POST / HTTP/1.1\r\nHost: x\r\nupGrade: h2c\r\nX-Upgrade: no\r\nConnection: Upgrade\r\nContent-Length: 4\r\n\r\npaid"


async def test_the_offer_is_left_out_of_every_request_of_a_connection() -> None:
    """Java's own client repeats it with each; and what is sent ahead has it as well."""
    async with serving(echo) as (reader, writer):
        for sent in (OFFERING, OFFERING, WHOLE + OFFERING + OFFERING):
            writer.write(sent)
            for _ in range(sent.count(b"POST")):
                answer = await asyncio.wait_for(reader.readuntil(b"paid"), 10)
                assert answer.startswith(b"HTTP/1.1 200 ")


async def test_a_large_body_is_no_part_of_the_next_head() -> None:
    """Its sender has begun the next request in the same breath, and waits for the first one's answer."""
    large = b"x" * (LARGEST_HEAD + 1)
    async with serving(echo) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(large) + large + WHOLE[:30])
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        assert await asyncio.wait_for(reader.readexactly(len(large)), 10) == large
        writer.write(WHOLE[30:])
        assert (await asyncio.wait_for(reader.readuntil(b"paid"), 10)).startswith(b"HTTP/1.1 200 ")
    assert head.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("rubbish", [b"rubbish\r\n\r\n", b"GET / HTTP/1.1\r\n".ljust(LARGEST_HEAD * 6, b"x")])
async def test_rubbish_behind_a_request_does_not_take_its_answer(rubbish: bytes) -> None:
    answering = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await answering.wait()
        await echo(scope, receive, send)

    async with serving(slow) as (reader, writer):
        writer.write(WHOLE + rubbish)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.1)
        answering.set()
        answer = await asyncio.wait_for(reader.readuntil(b"paid"), 10)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close\r\n" in answer


async def test_rubbish_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """However many of its lines look like an offer."""
    async with serving(nothing) as (reader, writer):
        writer.write(b"rubbish\r\n" + b"Upgrade: h2c\r\n" * 1_000)
        refusal(await asyncio.wait_for(reader.read(), 10), 400)
    assert [record.name for record in caplog.records].count("uvicorn.error") == 1


async def test_rubbish_alone_is_refused_as_all_that_is_refused() -> None:
    async with serving(nothing) as (reader, writer):
        writer.write(b"rubbish\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 10)
    assert refusal(answer, 400)["code"] == "bad-request"
    assert b"x-content-type-options: nosniff\r\n" in answer
    assert b"date: " in answer


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("before", [b"", WHOLE])
async def test_a_head_that_does_not_come_in_time_is_turned_away(before: bytes) -> None:
    """It may be the connection's first, or one that comes after another."""
    async with serving(echo) as (reader, writer):
        writer.write(before + WHOLE[:30])
        if before:
            assert await asyncio.wait_for(reader.readuntil(b"paid"), 10)
        said = refusal(await asyncio.wait_for(reader.read(), 10), 408)
    assert (said["code"], said["retryable"]) == ("request-timeout", True)


@pytest.mark.usefixtures("soon")
async def test_a_body_that_does_not_come_in_time_is_turned_away_and_let_go() -> None:
    """Who drips holds a place: it is given back, and the answer has the id that the log has."""
    ended: asyncio.Future[tuple[str, str]] = asyncio.get_running_loop().create_future()

    async def waiting(scope: Any, receive: Any, send: Any) -> None:
        del send
        assert (await receive())["more_body"]
        ended.set_result(((await receive())["type"], scope["state"]["request_id"]))

    async with serving(Edge(waiting)) as (reader, writer):
        writer.write(WHOLE[:-1])
        said = refusal(await asyncio.wait_for(reader.read(), 10), 408)
        assert await asyncio.wait_for(ended, 10) == ("http.disconnect", said["request_id"])


@pytest.mark.usefixtures("soon")
async def test_a_body_that_was_answered_before_it_came_ends_its_connection() -> None:
    async def hasty(scope: Any, receive: Any, send: Any) -> None:
        del scope, receive
        await send({"type": "http.response.start", "status": 413, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async with serving(hasty) as (reader, writer):
        writer.write(WHOLE[:-1])
        answer = await asyncio.wait_for(reader.read(), 10)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("more", [WHOLE[:30], WHOLE[:-1], WHOLE])
async def test_a_slow_answer_is_not_a_slow_sender(more: bytes) -> None:
    """What a sender has sent ahead waits for its turn, however long that is; only then it can be late."""
    answering, asked = asyncio.Event(), 0

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        nonlocal asked
        asked += 1
        await answering.wait()
        await echo(scope, receive, send)

    async with serving(slow) as (reader, writer):
        writer.write(WHOLE + more)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.2)  # four times what a sender has
        answering.set()
        assert (await asyncio.wait_for(reader.readuntil(b"paid"), 10)).startswith(b"HTTP/1.1 200 ")
        if more == WHOLE:
            assert (await asyncio.wait_for(reader.readuntil(b"paid"), 10)).startswith(b"HTTP/1.1 200 ")
        else:
            refusal(await asyncio.wait_for(reader.read(), 10), 408)
    assert asked == (1 if more == WHOLE[:30] else 2)


async def test_only_what_is_still_to_come_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection at rest between two requests is uvicorn's own to end; and a request in one piece needs no timer."""
    timers: asyncio.Queue[asyncio.TimerHandle | None] = asyncio.Queue()
    wait = BoundedProtocol._wait_for_more

    def watched(self: BoundedProtocol, size: int) -> None:
        wait(self, size)
        timers.put_nowait(self._timer)

    monkeypatch.setattr(BoundedProtocol, "_wait_for_more", watched)
    async with serving(echo) as (reader, writer):
        for _ in range(2):
            writer.write(WHOLE)
            await asyncio.wait_for(reader.readuntil(b"paid"), 10)
        assert timers.empty()
        writer.write(WHOLE[:-2])
        timer = await asyncio.wait_for(timers.get(), 10)
        writer.write(WHOLE[-2:])
        await asyncio.wait_for(reader.readuntil(b"paid"), 10)
    assert timer is not None
    assert timer.cancelled()
