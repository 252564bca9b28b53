"""Runs a process from its first port to its last commit: what the command line calls."""

import asyncio
import gc
import logging
import os
import signal
import socket
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from datetime import timedelta
from typing import Any

import uvicorn
from fastapi import FastAPI

from app import telemetry
from app.api import create_app, create_worker_app, document
from app.api.protocol import BoundedProtocol
from app.db import schema
from app.errors import ConfigurationError
from app.reconcile import Progress, Report, reconcilable
from app.settings import Settings, Source
from app.wiring import Role, Service, build, database_url

logger = logging.getLogger(__name__)

# What an answer that is under way may still take when the process stops; a commit takes a hundredth of it.
HTTP_DRAIN = 10
# New containers, less those that are gone, before cycles are looked for; Python's own number is 700.
GARBAGE_AT = 20_000
# Killed by a second SIGTERM: 128 + 15, as a shell would say it.
KILLED = 143


class Server(uvicorn.Server):
    """uvicorn, but the signals are ours: they stop the worker and the server together."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts, and says so."""
        await super().startup(sockets)
        self.listening.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves the signals alone."""
        yield


def openapi() -> dict[str, Any]:
    """The OpenAPI document."""
    return document()


async def migrate(settings: Settings) -> None:
    """Brings the database's schema up to date; once more does nothing.

    Raises:
        DatabaseUnavailable: it cannot be reached.
        DatabaseBehind: the schema is newer than this program.
    """
    async with AsyncExitStack() as closing:
        await schema.upgrade(await database_url(settings, closing))


async def reconcile(settings: Settings, source: Source, since: timedelta, watch: Callable[[Progress], None]) -> Report:
    """Compares what a source's provider shows with what is known here, and takes in what no webhook has told of.

    What is taken in is carried out by the running service.

    Args:
        since: how far back.
        watch: hears of the progress.

    Raises:
        ConfigurationError: the source's payments cannot be read.
        Rejected, Unavailable: its provider does not tell them.
        DatabaseBehind, DatabaseUnavailable, EmbeddedDatabaseError: the database cannot be used.
    """
    reconcilable(source)
    service = await build(settings, Role.API)
    try:
        return await service.reconciler.reconcile(source, since, watch=watch)
    finally:
        await service.stop()


async def serve(settings: Settings, *, role: Role, ready: Callable[[str], None]) -> None:
    """Serves until SIGTERM or SIGINT, then drains: no new claims, calls that are out come to their end.

    A second signal ends the process at once; that loses nothing, as nothing is acknowledged before it is on disk.

    Args:
        ready: called with the URL once requests are taken.

    Raises:
        ConfigurationError: the port is taken.
        DatabaseBehind, DatabaseUnavailable, EmbeddedDatabaseError: it cannot start.
    """
    telemetry.configure()
    stopping = asyncio.Event()
    with _signals(stopping), _listen(settings.server.host, settings.server.port) as listening:
        gc.collect()  # before there is work that would wait for it
        service = await build(settings, role)
        try:
            app = create_worker_app(service.context) if role is Role.WORKER else create_app(service.context)
            _spare_the_collector()
            await _serve(app, service, listening, stopping, ready)
        finally:
            await service.stop()


def _spare_the_collector() -> None:
    """What was built at the start lives to the end: it is not looked through again each time that garbage is looked for.

    Nearly all that a payment leaves behind goes by its reference count; cycles are few, so they are looked for more seldom.
    """
    gc.freeze()
    gc.set_threshold(GARBAGE_AT)


async def _serve(
    app: FastAPI, service: Service, listening: socket.socket, stopping: asyncio.Event, ready: Callable[[str], None]
) -> None:
    server = Server(
        uvicorn.Config(
            app,
            http=BoundedProtocol,
            proxy_headers=False,  # nothing here asks where a request came from
            log_config=None,
            ws="none",  # nothing here speaks WebSocket
            access_log=False,
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=HTTP_DRAIN,
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    await _first_of(serving, server.listening.wait())
    if not serving.done():
        host, port = listening.getsockname()[:2]
        ready(f"http://{f'[{host}]' if ':' in host else host}:{port}")
    await _first_of(serving, stopping.wait())
    service.context.stopping.set()
    if service.runner is not None:
        service.runner.drain()
    server.should_exit = True
    await serving


async def _first_of(serving: "asyncio.Task[None]", other: Coroutine[Any, Any, Any]) -> None:
    """Waits until the server has ended or something else has happened."""
    happening = asyncio.ensure_future(other)
    await asyncio.wait({serving, happening}, return_when=asyncio.FIRST_COMPLETED)
    happening.cancel()


@contextmanager
def _listen(host: str, port: int) -> Iterator[socket.socket]:
    """A bound socket: taken before anything is started, so that a taken port is told at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
        except OSError as error:
            fault = f"server.port: cannot listen on {host}:{port}: {error.strerror}; choose another with --port"
            raise ConfigurationError([fault]) from error
        listening.set_inheritable(True)
        yield listening


@contextmanager
def _signals(stopping: asyncio.Event) -> Iterator[None]:
    """The first SIGTERM or SIGINT asks for the end, the second one is the end."""
    loop = asyncio.get_running_loop()

    def asked() -> None:
        if stopping.is_set():
            os._exit(KILLED)
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
