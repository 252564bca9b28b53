"""The road begins here: `POST /webhooks/{source}`. Checked in this order: source, size, signature, JSON, meaning.

It is served before the framework, as plain ASGI: the signature is the authentication, the bytes are read as the sender
signed them, and the framework's layers would cost more than all that is done here.
"""

import re
from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from app.api import wire
from app.api.admission import Room
from app.api.context import Context
from app.api.edge import WHOLE_ANSWER, lines, lines_of_all
from app.api.problems import answer_to
from app.db.tables import EventStatus
from app.errors import MakegoodError, UnknownSource
from app.intake import Receipt
from app.providers import provider
from app.providers.reading import read
from app.providers.refunds import Question
from app.saga.model import Json

PREFIX = "/webhooks/"
PATH = PREFIX + "{source}"

JSON = b"application/json"
PLAIN = b"text/plain; charset=utf-8"

# For a webhook that is signed by nobody and was looked up: whoever sends an id learns nothing of it.
HEARD = (200, PLAIN, b"", None)

# W3C Trace Context, version 00; ids of zeros alone are not valid.
TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

STATUS = {
    EventStatus.ACCEPTED: 202,
    EventStatus.DUPLICATE: 200,
    EventStatus.IGNORED: 200,
    EventStatus.UNPROCESSABLE: 202,
    EventStatus.CONFLICT: 202,
}


def takes(scope: Scope) -> bool:
    """Whether a request is a delivery: it is served here, before the framework."""
    path: str = scope["path"]
    name = path.removeprefix(PREFIX)
    return scope["method"] == "POST" and len(name) < len(path) and name != "" and "/" not in name


class NoDelivery:
    """What the framework serves at the path of deliveries: every method that is none."""

    async def __call__(self, _scope: Scope, _receive: Receive, _send: Send) -> None:
        """Refuses."""
        raise HTTPException(405, headers={"Allow": "POST"})


class Webhooks:
    """The webhooks of one process, an ASGI application.

    Args:
        room: how many may be under way.
    """

    def __init__(self, context: Context, room: Room) -> None:
        self._context = context
        self._room = room

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Takes one delivery; answers once it is committed."""
        try:
            status, media_type, said, location = await self._receive(scope, receive)
        except (MakegoodError, HTTPException) as error:
            await answer_to(Request(scope), error)(scope, receive, send)
            return
        headers = [(b"content-type", media_type), (b"content-length", b"%d" % len(said))]
        if location is not None:
            headers.append((b"location", location.encode("ascii")))
        whole = scope.get("extensions", {}).get(WHOLE_ANSWER)
        if whole is not None and whole["send"](status, lines(headers) + lines_of_all(scope), said):
            return
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": said})

    async def _receive(self, scope: Scope, receive: Receive) -> tuple[int, bytes, bytes, str | None]:
        """Status, media type, body and Location of the answer.

        Raises:
            UnknownSource, BodyTooLarge, SignatureInvalid, MalformedBody: nothing is stored.
            Unavailable: what the provider wants fetched cannot be fetched now; nothing is stored.
            DatabaseUnavailable: the database cannot take it now; nothing is acknowledged.
        """
        context = self._context
        name = scope["path"][len(PREFIX) :]
        source = context.settings.sources.get(name)
        if source is None:
            raise UnknownSource(f'no source named "{name[:63]}" is configured')
        headers = _headers(scope)
        with self._room.place() as place:
            body = await place.body(receive, headers.get("content-length", ""), context.settings.server.max_body)
            teller = provider(source.provider)
            now = context.clock.wall()
            wanted = teller.wanted(source, headers, body, now)
            if wanted is None:
                delivery = teller.verify(source, headers, body, now)
            else:
                verified = await context.fetching.verified(teller, source, headers, body, wanted)
                if verified is None:
                    return HEARD
                delivery, body = verified.delivery, verified.body
            messages = [(read(source, delivery, message), message) for message in teller.messages(body)]
            receipts = await context.intake.receive_all(source, messages, traceparent(headers))
        if isinstance(wanted, Question):
            return HEARD
        if teller.acknowledgement is not None:
            return 200, PLAIN, teller.acknowledgement.encode(), None
        return _answered(receipts[0])


def _answered(receipt: Receipt) -> tuple[int, bytes, bytes, str | None]:
    """`answer` as it goes out. That of a payment that is taken, or known, is nearly always the one, and written straight."""
    id_ = receipt.operation_id
    if id_ is not None and (receipt.status is EventStatus.ACCEPTED or receipt.status is EventStatus.DUPLICATE):
        name = str(id_)
        body = f'{{"operation_id":"{name}","status":"{receipt.status}"}}'.encode("ascii")
        return STATUS[receipt.status], JSON, body, f"/operations/{name}"
    status, said = answer(receipt)
    return status, JSON, wire.dump(said), wire.pointing(said).get("Location")


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


def traceparent(headers: Mapping[str, str]) -> str | None:
    """The sender's trace, where it is a valid one."""
    given = headers.get("traceparent", "").strip()
    return given if TRACEPARENT.fullmatch(given) else None


def _headers(scope: Scope) -> dict[str, str]:
    """The headers by their lower-case names. Of one that came twice the first counts, as nobody signs two of them."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(scope["headers"])}
