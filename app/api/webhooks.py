"""The road begins here: `POST /webhooks/{source}`. Checked in this order: source, size, signature, JSON, meaning.

It is a plain route, with none of the framework's validation: the signature is the authentication, and the bytes are
read as the sender signed them.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from app.api import wire
from app.api.admission import Room
from app.api.context import Context
from app.db.tables import EventStatus
from app.errors import UnknownSource
from app.intake import Receipt
from app.providers import provider
from app.providers.reading import Reading, read
from app.providers.refunds import Question
from app.saga.model import Json
from app.settings import Source

PATH = "/webhooks/{source}"

# Seconds in which a body must have come: a mebibyte at 50 kB/s. Who drips it holds room that others need.
BODY_TIMEOUT = 20.0

# W3C Trace Context, version 00; ids of zeros alone are not valid.
TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

STATUS = {
    EventStatus.ACCEPTED: 202,
    EventStatus.DUPLICATE: 200,
    EventStatus.IGNORED: 200,
    EventStatus.UNPROCESSABLE: 202,
    EventStatus.CONFLICT: 202,
}


async def receive(request: Request) -> Response:
    """The route: one delivery."""
    webhooks: Webhooks = request.app.state.webhooks
    return await webhooks.receive(request)


class Webhooks:
    """The webhooks of one process.

    Args:
        room: how many may be under way.
    """

    def __init__(self, room: Room) -> None:
        self._room = room
        self._storing: set[asyncio.Task[list[Receipt]]] = set()

    async def receive(self, request: Request) -> Response:
        """Takes one delivery; answers once it is committed.

        Raises:
            UnknownSource, BodyTooLarge, SignatureInvalid, MalformedBody: nothing is stored.
            DatabaseUnavailable: the database cannot take it now; nothing is acknowledged.
        """
        context: Context = request.app.state.context
        name = request.path_params["source"]
        source = context.settings.sources.get(name)
        if source is None:
            raise UnknownSource(f'no source named "{name[:63]}" is configured')
        with self._room.place() as place:
            try:
                async with asyncio.timeout(BODY_TIMEOUT):
                    body = await place.body(request, context.settings.server.max_body)
            except TimeoutError as error:
                raise HTTPException(408) from error
            headers = _headers(request)
            teller = provider(source.provider)
            wanted = teller.wanted(source, headers, body)
            if wanted is None:
                delivery = teller.verify(source, headers, body, context.clock.wall())
            else:
                verified = await context.fetching.verified(teller, source, headers, body, wanted)
                if verified is None:
                    return heard()
                delivery, body = verified.delivery, verified.body
            messages = [(read(source, delivery, message), message) for message in teller.messages(body)]
            receipts = await self._store(context, source, messages, traceparent(headers))
        if isinstance(wanted, Question):
            return heard()
        if teller.acknowledgement is not None:
            return PlainTextResponse(teller.acknowledgement)
        status, said = answer(receipts[0])
        return wire.respond(said, status, wire.pointing(said))

    async def _store(
        self, context: Context, source: Source, messages: Sequence[tuple[Reading, bytes]], trace: str | None
    ) -> list[Receipt]:
        """Stores a delivery in a task of the server's own: a sender that goes away cancels his request, not the commit."""
        storing = asyncio.create_task(context.intake.receive_all(source, messages, trace))
        self._storing.add(storing)
        storing.add_done_callback(self._storing.discard)
        return await asyncio.shield(storing)


def answer(receipt: Receipt) -> tuple[int, dict[str, Json]]:
    """Status and body for what became of an event: the row of the contract's table."""
    said: dict[str, Json] = {}
    if receipt.operation_id is not None:
        said["operation_id"] = str(receipt.operation_id)
    said["status"] = receipt.status
    match receipt.status:
        case EventStatus.IGNORED:
            said["event_type"] = receipt.event_type
        case EventStatus.UNPROCESSABLE | EventStatus.CONFLICT:
            said |= {"event_id": str(receipt.event_id), "detail": receipt.detail}
        case EventStatus.ACCEPTED | EventStatus.DUPLICATE:
            pass
    return STATUS[receipt.status], said


def heard() -> Response:
    """For a webhook that is signed by nobody and was looked up: whoever sends an id learns nothing of it."""
    return Response(status_code=200)


def traceparent(headers: Mapping[str, str]) -> str | None:
    """The sender's trace, where it is a valid one."""
    given = headers.get("traceparent", "").strip()
    return given if TRACEPARENT.fullmatch(given) else None


def _headers(request: Request) -> dict[str, str]:
    """The headers by their lower-case names. Of one that came twice the first counts, as nobody signs two of them."""
    headers: dict[str, str] = {}
    for name, value in request.scope["headers"]:
        headers.setdefault(name.decode("latin-1"), value.decode("latin-1"))
    return headers
