"""One attempt over HTTP: what goes out goes out once, and everything that can go wrong is one of two things.

Either nothing of the request can have arrived, or nobody knows.
"""

import asyncio
import errno
import logging
import os
import ssl
from collections.abc import Iterable
from typing import Protocol, cast

import httpx

from app.agents.answer import LARGEST_RESULT, NoReply, Reply
from app.agents.connection import AnswerBroken, Coming
from app.agents.redact import one_line
from app.agents.request import Request

logger = logging.getLogger(__name__)

# The failures of httpx that say of themselves that nothing was sent. Every other one may have come after the request had
# arrived.
NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


class NotSent(Exception):
    """A transport has a reason of its own not to send a request; it says it in words for the operator."""


# What a network does. Anything else is a fault of ours, and worth a trace in the log.
EXPECTED = (AnswerBroken, NotSent, OSError, httpx.TransportError)


class Transport(Protocol):
    """What carries a request to its agent, once."""

    async def exchange(self, request: Request, coming: Coming) -> None:
        """Sends a request and reads its answer into `coming`; raises whatever goes wrong."""

    async def aclose(self) -> None:
        """Closes all connections."""


class Borrowed:
    """A transport of httpx in the place of our own connections.

    It does not tell how far a call has come, so the request is taken to be sent from the beginning.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def exchange(self, request: Request, coming: Coming) -> None:
        """Sends a request and reads its answer into `coming`."""
        outgoing = httpx.Request(request.method, request.target, headers=request.headers, content=request.content)
        try:
            response = await self._transport.handle_async_request(outgoing)
        except NEVER_SENT:
            coming.sent = False
            raise
        # Read as it came: a body that was packed though we asked for none is no JSON.
        stream = cast("httpx.AsyncByteStream", response.stream)
        try:
            coming.status, coming.retry_after = response.status_code, response.headers.get("Retry-After")
            if coming.headers is not None:
                coming.headers.update(response.headers)
            async for chunk in stream:
                coming.body += chunk
                if len(coming.body) > coming.largest:
                    break
        finally:
            await stream.aclose()

    async def aclose(self) -> None:
        """Closes the transport."""
        await self._transport.aclose()


class Limit:
    """Ends what the present task does inside of it after some seconds, by a TimeoutError.

    What `asyncio.timeout` is, with nothing to reschedule, at half its cost.
    """

    __slots__ = ("_cancelled_before", "_task", "_timer", "expired")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("outside of a task nothing can be ended")
        self.expired = False
        self._task = task
        self._cancelled_before = task.cancelling()
        self._timer = loop.call_later(seconds, self._expire)

    def _expire(self) -> None:
        self.expired = True
        self._task.cancel()

    def __enter__(self) -> None:
        """Nothing more to do: the time counts already."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        self._timer.cancel()
        if self.expired:
            others = self._task.uncancel() > self._cancelled_before  # who end the task, and not this call alone
            if kind is asyncio.CancelledError and not others:
                raise TimeoutError from error


async def attempt(
    transport: Transport, request: Request, seconds: float, largest: int = LARGEST_RESULT
) -> Reply | NoReply:
    """Sends a request, once, and reads the answer.

    Cancelled, it raises CancelledError and says nothing of the call: it stays open on record until its lease runs out,
    and is unknown then.

    Args:
        seconds: the time for all of it: connecting, sending, and the answer to its end.
        largest: bytes of a body that is read as JSON.
    """
    loop = asyncio.get_running_loop()
    coming = Coming(largest=largest, headers={} if request.keeps_headers else None)
    limit = Limit(loop, seconds)
    try:
        with limit:
            await transport.exchange(request, coming)
    except Exception as error:  # whatever a transport raises, the request may have arrived
        if not isinstance(error, EXPECTED):
            logger.warning("transport_failed", exc_info=True, extra={"agent": request.agent})
        why = f" within {seconds:g} s" if limit.expired else f": {_reason(error)}"
        if isinstance(error, NotSent):
            return NoReply(f"not sent: {error}", sent=False)
        if not coming.sent:
            return NoReply(f"no connection{why}", sent=False)
        what = "no answer" if coming.status is None else f"answered {coming.status}, but not to its end"
        return NoReply(what + why, True, coming.status, bytes(coming.body), _since(coming, loop))
    body = bytes(coming.body) if len(coming.body) <= largest else bytes(coming.body[: largest + 1])
    return Reply(coming.status or 0, coming.retry_after, body, _since(coming, loop), largest, coming.headers)


def _since(coming: Coming, loop: asyncio.AbstractEventLoop) -> float:
    """Seconds since the request was written. Where nobody knows when: none, as it cannot have been later than now."""
    return 0.0 if coming.sent_at is None else loop.time() - coming.sent_at


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
