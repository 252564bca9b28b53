"""The connections to one agent: made, used again while they are young, and never used twice for one request.

It is HTTP/1.1 over asyncio and no more: what goes out is written once, to one connection, whatever becomes of it. There is
nothing here that could resend, redirect, keep cookies or read proxies from the environment.
"""

import asyncio
import contextlib
import socket
import ssl
from collections import deque
from functools import cache

import httpx

from app.agents.connection import Coming, Connection
from app.agents.request import Origin, Request

# How long a connection may idle and be used again. Servers close theirs after 5 s and more, and a request that meets a
# closing connection ends as unknown, so we let go first.
KEEPALIVE_SECONDS = 2.0

# How long one address of a host may take before the next is tried: a lost first packet is sent again after 1 s, and an
# address that does not answer must not use up the time of one that does.
NEXT_ADDRESS_SECONDS = 1.0


class Connections:
    """A pool of HTTP/1.1 connections to one origin.

    The slots of the agent's gate bound how many are in use, so a call never waits for one to become free.

    Args:
        idle: how many are kept that are not in use.
    """

    def __init__(self, origin: Origin, idle: int) -> None:
        self._origin = origin
        self._idle: deque[tuple[float, Connection]] = deque()  # since when, by the event loop's clock
        self._limit = idle
        self._open: set[Connection] = set()
        self._sweeping: asyncio.TimerHandle | None = None
        self._closed = False

    async def exchange(self, request: Request, coming: Coming) -> None:
        """Sends a request, once, and reads the answer.

        However it ends, `coming` says how far it has come. Cancelled, it closes the connection.

        Args:
            coming: is told of the progress; its body is read to a little over what is kept of it.

        Raises:
            AnswerBroken: what came is no whole answer.
            OSError: the connection did not come about, or broke.
            ValueError: the request cannot be written, or its host is none.
        """
        coming.sent = False
        written = write(request)
        connection = self._reusable() or await self._connect()
        if not connection.usable:
            raise ConnectionError("the agent closed the connection before anything was sent")
        coming.sent = True
        try:
            await connection.ask(written, coming, bodiless=request.method == "HEAD")
        except BaseException:
            connection.abort()
            raise
        if connection.usable:
            self._keep(connection)

    async def aclose(self) -> None:
        """Closes all connections; calls that are under way break."""
        self._closed = True
        if self._sweeping is not None:
            self._sweeping.cancel()
        self._idle.clear()
        for connection in self._open:
            connection.abort()
        await asyncio.gather(*(connection.lost for connection in self._open))

    # --- connections at rest ---

    def _reusable(self) -> Connection | None:
        """The one that was used last, so that those that are not needed grow old."""
        while self._idle:
            since, connection = self._idle.pop()
            if connection.loop.time() - since < KEEPALIVE_SECONDS and connection.is_quiet():
                return connection
            connection.abort()
        return None

    def _keep(self, connection: Connection) -> None:
        if self._closed or len(self._idle) >= self._limit:
            connection.abort()
            return
        loop = connection.loop
        self._idle.append((loop.time(), connection))
        if self._sweeping is None:
            self._sweeping = loop.call_later(KEEPALIVE_SECONDS, self._sweep)

    def _sweep(self) -> None:
        """Closes those that have become too old, and comes back when the next one will be."""
        loop = asyncio.get_running_loop()
        self._sweeping = None
        while self._idle and self._idle[0][0] <= loop.time() - KEEPALIVE_SECONDS:
            self._idle.popleft()[1].abort()
        if self._idle:
            self._sweeping = loop.call_at(self._idle[0][0] + KEEPALIVE_SECONDS, self._sweep)

    # --- new connections ---

    async def _connect(self) -> Connection:
        host, port = self._origin.host, self._origin.port
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        *others, last = dict.fromkeys(str(address[0]) for *_, address in found)
        for address in others:
            with contextlib.suppress(OSError):
                async with asyncio.timeout(NEXT_ADDRESS_SECONDS):
                    return await self._connect_to(address)
        return await self._connect_to(last)

    async def _connect_to(self, address: str) -> Connection:
        tls = _tls() if self._origin.scheme == "https" else None
        name = self._origin.host if tls else None
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            Connection, address, self._origin.port, ssl=tls, server_hostname=name
        )
        self._open.add(connection)
        connection.lost.add_done_callback(lambda _: self._open.discard(connection))
        return connection


def write(request: Request) -> bytes:
    """The bytes of a request.

    Raises:
        ValueError: something in it would make another request of it, or a second one.
    """
    lines = [f"{name}: {value}" for name, value in request.headers.items()]
    lines.insert(0, f"{request.method} {request.path} HTTP/1.1")
    text = "".join(lines)  # the ends of the lines, which are ours, come between them afterwards
    if not text.isascii() or not text.isprintable() or " " in request.path:
        raise ValueError("a character that cannot stand in the head of a request")
    if request.content is None:
        return "\r\n".join((*lines, "\r\n")).encode("ascii")
    lines.append(f"Content-Length: {len(request.content)}\r\n\r\n")
    return "\r\n".join(lines).encode("ascii") + request.content


@cache  # reading the authorities takes long, and all agents trust the same
def _tls() -> ssl.SSLContext:
    """What we trust. SSL_CERT_FILE and SSL_CERT_DIR say it, as that is how an own certification authority is made known."""
    context = httpx.create_ssl_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
