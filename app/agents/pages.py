"""Pages that are nobody's agent's: read once, from the address that was given and no other, with no credentials.

An address came in a header of somebody who may be anyone. Its host was checked by whoever hands it over; here it is made sure
that no redirect leads away from it, that the other side is who it should be (TLS), and that it takes neither long nor much.
"""

import asyncio
from http import HTTPStatus
from urllib.parse import urlsplit

import httpx

from app.agents.answer import LARGEST_RESULT, Reply
from app.agents.http import Borrowed, Transport, attempt
from app.agents.request import Endpoint, request_of
from app.agents.transport import Connections
from app.errors import Unavailable
from app.providers.refunds import Question
from app.settings import Agent

# A sender waits some ten seconds for its answer; a certificate of 2 kB comes in a tenth of one.
SECONDS = 5.0
# How many pages are read at once. Each is asked for by somebody whom nobody has verified yet.
AT_ONCE = 8


class Pages:
    """Reads pages.

    Args:
        transport: for all of them, instead of a connection for each.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._borrowed = transport
        self._reading: dict[str, asyncio.Task[bytes | Unavailable]] = {}

    async def read(self, url: str) -> bytes:
        """The body of a page. Those who want the same one have it read once.

        Raises:
            Unavailable: it did not come whole, with status 200, or too many are being read.
        """
        reading = self._reading.get(url)
        if reading is None:
            if len(self._reading) >= AT_ONCE:
                raise Unavailable("too many pages are being read")
            reading = self._reading[url] = asyncio.create_task(self._read(url), name="page")
            reading.add_done_callback(lambda _: self._reading.pop(url))
        came = await asyncio.shield(reading)
        if isinstance(came, Unavailable):
            raise Unavailable(came.detail, status=came.status)
        return came

    async def aclose(self) -> None:
        """Gives up what is being read."""
        reading = list(self._reading.values())
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)

    async def _read(self, url: str) -> bytes | Unavailable:
        parts = urlsplit(url)
        endpoint = Endpoint(Agent(parts.netloc, f"{parts.scheme}://{parts.netloc}"))
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        request = request_of(endpoint, Question("GET", path, {"Accept": "*/*"}))
        transport: Transport = Borrowed(self._borrowed) if self._borrowed else Connections(endpoint.origin, 0)
        try:
            came = await attempt(transport, request, SECONDS)
        finally:
            if self._borrowed is None:
                await transport.aclose()
        if not isinstance(came, Reply):
            return Unavailable(f"{parts.netloc}: {came.detail}")
        if came.status != HTTPStatus.OK:
            return Unavailable(f"{parts.netloc}: answered {came.status}", status=came.status)
        if len(came.body) > LARGEST_RESULT:
            return Unavailable(f"{parts.netloc}: answered with more than {LARGEST_RESULT} bytes")
        return came.body
