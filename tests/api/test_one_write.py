"""The head of an answer goes out with its body, and nothing stays behind."""

import asyncio
import gc
from typing import Any, cast

import pytest
import uvicorn

from app.api.edge import WHOLE_ANSWER, Edge, lines, lines_of_all
from app.api.protocol import BoundedProtocol, OneWrite


class Wire(asyncio.Transport):
    """A transport that remembers what it was told to send."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> None:
        self.sent.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        """All that is sent ahead has been read."""

    def resume_reading(self) -> None:
        """There is nothing more."""


ANSWERS: dict[str, tuple[list[tuple[bytes, bytes]], list[bytes]]] = {
    "whole": ([(b"content-length", b"4")], [b"paid"]),
    "in pieces": ([(b"content-length", b"4")], [b"pa", b"id"]),
    "chunked": ([], [b"paid", b""]),
    "without a body": ([(b"content-length", b"0")], [b""]),
}


async def answered(method: bytes, headers: list[tuple[bytes, bytes]], bodies: list[bytes]) -> list[bytes]:
    """What goes over the wire when an application answers so."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        del scope
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for place, body in enumerate(bodies):
            await send({"type": "http.response.body", "body": body, "more_body": place + 1 < len(bodies)})

    return await asked(app, b"%b / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n" % method)


async def asked(app: Any, *pieces: bytes, count: int | None = None) -> list[bytes]:
    """What goes over the wire when an application is asked, in pieces that come one behind the other.

    Args:
        count: requests in them; where none is given each piece is one.
    """
    left, done = len(pieces) if count is None else count, asyncio.Event()

    async def counted(scope: Any, receive: Any, send: Any) -> None:
        nonlocal left
        await app(scope, receive, send)
        left -= 1
        if left == 0:
            done.set()

    config = uvicorn.Config(
        cast("Any", counted), lifespan="off", log_config=None, date_header=False, server_header=False
    )
    config.load()
    protocol = BoundedProtocol(config, uvicorn.Server(config).server_state, {})
    wire = Wire()
    protocol.connection_made(wire)
    for piece in pieces:
        protocol.data_received(piece)
    await asyncio.wait_for(done.wait(), 5)
    protocol.connection_lost(None)
    return wire.sent


@pytest.mark.parametrize("case", ANSWERS)
async def test_the_head_goes_out_with_the_first_bytes_of_the_body(case: str) -> None:
    headers, bodies = ANSWERS[case]
    first, *rest = await answered(b"POST", headers, bodies)
    head, end, body = first.partition(b"\r\n\r\n")
    assert (head.startswith(b"HTTP/1.1 200 "), end) == (True, b"\r\n\r\n")
    whole = b"4\r\npaid\r\n0\r\n\r\n" if case == "chunked" else b"".join(bodies)
    assert body + b"".join(rest) == whole
    assert len(rest) == len(bodies) - 1


async def test_an_answer_to_head_is_not_kept() -> None:
    [only] = await answered(b"HEAD", [(b"content-length", b"4")], [b""])
    assert only.endswith(b"\r\n\r\n")


def test_what_says_that_the_body_may_come_goes_out_at_once() -> None:
    wire = Wire()
    out = OneWrite(wire)
    out.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert wire.sent == [b"HTTP/1.1 100 Continue\r\n\r\n"]


def test_a_body_that_looks_like_a_head_is_a_body() -> None:
    wire = Wire()
    out = OneWrite(wire)
    out.write(b"HTTP/1.1 200 OK\r\n\r\n")
    out.write(b"HTTP/1.1 is what this text begins with")
    assert wire.sent == [b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 is what this text begins with"]


def test_closing_sends_what_is_kept() -> None:
    wire = Wire()
    out = OneWrite(wire)
    out.write(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert wire.sent == []
    out.close()
    assert (wire.sent, wire.closed) == ([b"HTTP/1.1 204 No Content\r\n\r\n"], True)


NAMED = b"POST / HTTP/1.1\r\nHost: x\r\nX-Request-Id: %b\r\nContent-Length: 0\r\n\r\n"
LINES = [(b"content-type", b"text/plain"), (b"content-length", b"4")]


async def in_two(scope: Any, receive: Any, send: Any) -> None:
    """An answer as ASGI has it."""
    del scope
    await receive()
    await send({"type": "http.response.start", "status": 202, "headers": LINES})
    await send({"type": "http.response.body", "body": b"paid"})


async def whole(scope: Any, receive: Any, send: Any) -> None:
    """The same, ready; as ASGI has it where the server does not take it so."""
    if not scope["extensions"][WHOLE_ANSWER]["send"](202, lines(LINES) + lines_of_all(scope), b"paid"):
        await in_two(scope, receive, send)


async def test_an_answer_that_is_ready_is_the_same_on_the_wire() -> None:
    """Also to what was sent ahead: each is answered in its turn."""
    requests = NAMED % b"first", NAMED % b"second"
    expected = await asked(Edge(in_two), *requests)
    assert await asked(Edge(whole), *requests) == expected
    assert [b"x-request-id: first\r\n" in expected[0], b"x-request-id: second\r\n" in expected[1]] == [True, True]
    assert len(expected) == 2


async def test_the_last_answer_of_a_connection_is_sent_as_asgi_has_it() -> None:
    request = (NAMED % b"last").replace(b"Host", b"Connection: close\r\nHost")
    [answer] = await asked(Edge(whole), request)
    assert b"connection: close\r\n" in answer
    assert answer.endswith(b"\r\n\r\npaid")


async def test_what_is_answered_already_is_not_answered_whole() -> None:
    said = []

    async def twice(scope: Any, receive: Any, send: Any) -> None:
        await whole(scope, receive, send)
        said.append(scope["extensions"][WHOLE_ANSWER]["send"](202, b"", b""))

    assert len(await asked(Edge(twice), NAMED % b"x")) == 1
    assert said == [False]


@pytest.mark.parametrize("gone", ["disconnected", "closed"])
async def test_who_is_gone_is_not_written_to(gone: str) -> None:
    """Where several requests were sent ahead, uvicorn tells the last one alone that the connection is lost."""
    said = []

    async def late(scope: Any, receive: Any, send: Any) -> None:
        del receive, send
        answer = scope["extensions"][WHOLE_ANSWER]["send"]
        if gone == "disconnected":
            answer.args[0]().disconnected = True
        else:
            answer.func.__self__.transport.close()
        said.append(answer(202, b"", b""))
        assert answer.args[0]().disconnected

    assert await asked(Edge(late), NAMED % b"x") == []
    assert said == [True]


@pytest.mark.parametrize("app", [in_two, whole])
async def test_an_answered_request_leaves_nothing_for_the_collector(app: Any) -> None:
    """It comes seldom: what waits for it is memory."""
    cycles = []

    async def remembering(scope: Any, receive: Any, send: Any) -> None:
        cycles.append(scope["extensions"][WHOLE_ANSWER]["send"].args[0])
        await app(scope, receive, send)

    gc.disable()
    try:
        await asked(Edge(remembering), NAMED % b"first", NAMED % b"second")
        await asyncio.sleep(0)  # in which the tasks end
        assert [cycle() for cycle in cycles] == [None, None]
    finally:
        gc.enable()


OFFERING = (
    b"POST / HTTP/1.1\r\nHost: x\r\nupGrade: h2c\r\nX-Upgrade: no\r\nConnection: Upgrade\r\n"
    b"Content-Length: 14\r\n\r\npaid\r\nUpgrade:"
)


@pytest.mark.parametrize("cut", range(1, len(OFFERING)))
async def test_the_offer_of_another_protocol_may_be_cut_anywhere(cut: int) -> None:
    """It is left out of the head, and a header whose name only ends so is another one; a body is what was sent."""
    seen = []

    async def remembering(scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while len(body) < 14:
            body += (await receive())["body"]
        headers = dict(scope["headers"])
        seen.append((headers.get(b"upgrade"), headers.get(b"x-upgrade"), body))
        await whole(scope, receive, send)

    twice = OFFERING + OFFERING
    sent = await asked(Edge(remembering), twice[:cut], twice[cut : cut + 90], twice[cut + 90 :], count=2)
    assert seen == [(None, b"no", b"paid\r\nUpgrade:")] * 2
    assert len(sent) == 2
