"""A request whose headers do not end."""

import asyncio
import json

import uvicorn

from app.api.protocol import LARGEST_HEAD, BoundedProtocol


async def nothing(scope: object, receive: object, send: object) -> None:
    """An application that is never reached."""


async def test_headers_without_an_end_are_turned_away() -> None:
    config = uvicorn.Config(nothing, http=BoundedProtocol, lifespan="off", log_config=None)
    config.load()
    state = uvicorn.Server(config).server_state
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: BoundedProtocol(config, state, {}), "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        # Not a byte more than the server reads: what it leaves unread would make its end of the connection a reset.
        writer.write(b"GET / HTTP/1.1\r\n".ljust(LARGEST_HEAD + 1, b"x"))
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 431 ")
    assert json.loads(body)["status"] == 431
