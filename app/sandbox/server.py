"""Lets an app of the sandbox listen on a port of its own, in this process, and lets it drop a connection."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator

import uvicorn
from fastapi import FastAPI, Request
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LOOPBACK = "127.0.0.1"
_EXTENSION = "makegood.sandbox"

# Connections may queue here until the server accepts them, so that the address can be used as soon as it is known.
_BACKLOG = 128

# An answer that is held back on purpose must not hold back the end of the process.
_SHUTDOWN_SECONDS = 1


class _Droppable(HttpToolsProtocol):
    """Hands the app the means to drop its connection: ASGI has none."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {_EXTENSION: {"drop": self.transport.abort}}


class _Guest(uvicorn.Server):
    """A server that is a guest in its process: signals are the host's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def drop(request: Request) -> None:
    """Breaks the request's connection without a byte of answer. What the app returns afterwards goes nowhere."""
    request.scope["extensions"][_EXTENSION]["drop"]()
    await asyncio.sleep(0)  # the protocol hears of the end of its transport in the loop's next round


@contextlib.asynccontextmanager
async def listening(app: FastAPI, port: int = 0) -> AsyncIterator[str]:
    """Serves an app on loopback while the block runs, and gives its base URL.

    Args:
        port: 0 takes a free one.
    """
    with socket.socket() as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((LOOPBACK, port))
        bound.listen(_BACKLOG)
        config = uvicorn.Config(
            app,
            http=_Droppable,
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        )
        server = _Guest(config)
        serving = asyncio.create_task(server.serve(sockets=[bound]))
        try:
            yield f"http://{LOOPBACK}:{bound.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving
