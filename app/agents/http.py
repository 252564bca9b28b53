"""One attempt over HTTP: what goes out goes out once, and everything that can go wrong is one of two things.

Either nothing of the request can have arrived, or nobody knows. There is no client here that could resend, redirect,
keep cookies or read proxies from the environment: a request goes to the transport itself.
"""

import asyncio
import errno
import logging
import os
import ssl
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, cast

import httpx

from app.agents.answer import LARGEST_RESULT, NoReply, Reply
from app.agents.redact import one_line
from app.agents.request import Request

logger = logging.getLogger(__name__)

# The failures that say of themselves that nothing was sent. Every other one may have come after the request had arrived.
NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)

# How long a connection may idle and be used again. Servers close theirs after 5 s and more, and a request that meets a
# closing connection ends as unknown, so we let go first.
KEEPALIVE_SECONDS = 2.0


def transport_for(connections: int) -> httpx.AsyncHTTPTransport:
    """A pool of HTTP/1.1 connections.

    The slots of the agent's gate bound how many are in use, so a call never waits for the pool. SSL_CERT_FILE and
    SSL_CERT_DIR are read from the environment, since that is how an own certification authority is made known;
    proxies are not.

    Args:
        connections: how many idle ones are kept.
    """
    limits = httpx.Limits(
        max_connections=None, max_keepalive_connections=connections, keepalive_expiry=KEEPALIVE_SECONDS
    )
    return httpx.AsyncHTTPTransport(verify=_tls(), http1=True, http2=False, limits=limits, retries=0)


@cache  # reading the authorities takes long, and all agents trust the same
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context()


class _Progress:
    """Hears how far a call has come, by httpcore's `trace` extension.

    A transport that does not tell is taken to have sent the request from the beginning.
    """

    def __init__(self) -> None:
        self._connecting = False
        self._sending = False
        self._connected: Any = None

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        if event.endswith("send_request_headers.started"):
            self._sending = True
        elif event.startswith("connection."):
            self._connecting = True
            if event == "connection.connect_tcp.complete":
                self._connected = info["return_value"]

    async def abandon(self) -> None:
        """Closes a connection whose TLS handshake did not end: httpcore leaves it open when it is cancelled."""
        if self.never_sent() and self._connected is not None:
            await self._connected.aclose()

    def never_sent(self) -> bool:
        """Whether it certainly has sent nothing yet."""
        return self._connecting and not self._sending


async def attempt(transport: httpx.AsyncBaseTransport, request: Request, seconds: float) -> Reply | NoReply:
    """Sends a request, once, and reads the answer.

    Cancelled, it raises CancelledError and says nothing of the call: it stays open on record until its lease runs out,
    and is unknown then.

    Args:
        seconds: the time for all of it: connecting, sending, and the answer to its end.
    """
    progress = _Progress()
    partial = _Partial()
    try:
        async with asyncio.timeout(seconds):
            return await _exchange(transport, request, progress, partial)
    except TimeoutError:
        if progress.never_sent():
            return NoReply(f"no connection within {seconds:g} s", sent=False)
        what = "no answer" if partial.status is None else f"answered {partial.status}, but not to its end"
        return NoReply(f"{what} within {seconds:g} s", True, partial.status, bytes(partial.body))
    except Exception as error:  # whatever a transport raises, the request may have arrived
        if not isinstance(error, httpx.TransportError):
            logger.warning("transport_failed", exc_info=True, extra={"agent": request.agent})
        if isinstance(error, NEVER_SENT) or progress.never_sent():
            return NoReply(f"no connection: {_reason(error)}", sent=False)
        what = "no answer" if partial.status is None else f"answered {partial.status}, but not to its end"
        return NoReply(f"{what}: {_reason(error)}", True, partial.status, bytes(partial.body))


class _Partial:
    """What has come of an answer so far."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.body = bytearray()


async def _exchange(
    transport: httpx.AsyncBaseTransport, request: Request, progress: _Progress, partial: _Partial
) -> Reply:
    outgoing = httpx.Request(
        request.method,
        request.target,
        headers=list(request.headers.items()),
        content=request.content,
        extensions={"trace": progress},
    )
    try:
        response = await transport.handle_async_request(outgoing)
    except BaseException:
        await progress.abandon()
        raise
    # Read as it came: a body that was packed though we asked for none is no JSON.
    stream = cast("httpx.AsyncByteStream", response.stream)
    try:
        partial.status = response.status_code
        async for chunk in stream:
            partial.body += chunk
            if len(partial.body) > LARGEST_RESULT:
                break
    finally:
        await stream.aclose()
    return Reply(response.status_code, response.headers.get("Retry-After"), bytes(partial.body[: LARGEST_RESULT + 1]))


def _reason(error: BaseException) -> str:
    """The deepest cause that the system gives a name to, in a line."""
    for cause in reversed(list(_causes(error))):
        if not isinstance(cause, OSError) or cause.errno is None:
            continue
        if cause.errno in errno.errorcode and not isinstance(cause, ssl.SSLError):
            return os.strerror(cause.errno)
        if cause.strerror:  # of the name service, or of TLS
            return one_line(cause.strerror, 200)
    return one_line(str(error) or type(error).__name__, 200)


def _causes(error: BaseException | None) -> Iterable[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
