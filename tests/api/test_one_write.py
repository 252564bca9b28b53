"""The head of an answer goes out with its body, and nothing stays behind."""

import asyncio
from typing import Any, cast

import pytest
import uvicorn

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


ANSWERS: dict[str, tuple[list[tuple[bytes, bytes]], list[bytes]]] = {
    "whole": ([(b"content-length", b"4")], [b"paid"]),
    "in pieces": ([(b"content-length", b"4")], [b"pa", b"id"]),
    "chunked": ([], [b"paid", b""]),
    "without a body": ([(b"content-length", b"0")], [b""]),
}


async def answered(method: bytes, headers: list[tuple[bytes, bytes]], bodies: list[bytes]) -> list[bytes]:
    """What goes over the wire when an application answers so."""
    done = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        del scope
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for place, body in enumerate(bodies):
            await send({"type": "http.response.body", "body": body, "more_body": place + 1 < len(bodies)})
        done.set()

    config = uvicorn.Config(cast("Any", app), lifespan="off", log_config=None, date_header=False, server_header=False)
    config.load()
    protocol = BoundedProtocol(config, uvicorn.Server(config).server_state, {})
    wire = Wire()
    protocol.connection_made(wire)
    protocol.data_received(b"%b / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n" % method)
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
