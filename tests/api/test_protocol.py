"""A request whose headers do not end, and one that offers another protocol."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from app.api.protocol import LARGEST_HEAD, BoundedProtocol


async def nothing(scope: object, receive: object, send: object) -> None:
    """An application that is never reached."""


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """An application that answers with the body."""
    del scope
    message = await receive()
    while message["more_body"]:
        message["body"] += (further := await receive())["body"]
        message["more_body"] = further["more_body"]
    length = str(len(message["body"])).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    await send({"type": "http.response.body", "body": message["body"]})


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to an application."""
    config = uvicorn.Config(app, http=BoundedProtocol, lifespan="off", log_config=None)
    config.load()
    state = uvicorn.Server(config).server_state
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: BoundedProtocol(config, state, {}), "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        yield reader, writer
        writer.close()


async def test_headers_without_an_end_are_turned_away() -> None:
    async with serving(nothing) as (reader, writer):
        # Not a byte more than the server reads: what it leaves unread would make its end of the connection a reset.
        writer.write(b"GET / HTTP/1.1\r\n".ljust(LARGEST_HEAD + 1, b"x"))
        answer = await asyncio.wait_for(reader.read(), 10)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 431 ")
    assert json.loads(body)["status"] == 431


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
