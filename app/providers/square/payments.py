"""Square's payments, for those that no webhook has told of: `GET /v2/payments`, by the time they were made."""

import json
from datetime import UTC, datetime
from urllib.parse import urlencode

from app.providers.amounts import inward
from app.providers.pieces import items, piece, text
from app.providers.refunds import Answered, PaidPage, Payments, Question
from app.saga.model import Json
from app.settings import Source

_PAGE = 50

_KIND = "payment.updated"


class SquarePayments(Payments):
    """How payments are read from Square's API. A page is its cursor."""

    def search(self, source: Source, since: datetime, until: datetime, page: str | None) -> Question:  # noqa: ARG002 - the same for all
        """A page of the account's payments, oldest first."""
        query = {
            "begin_time": _time(since),
            "end_time": _time(until),
            "sort_order": "ASC",
            "limit": str(_PAGE),
        }
        if page is not None:
            query["cursor"] = page
        return Question("GET", f"/v2/payments?{urlencode(query)}")

    def found(self, source: Source, answered: Answered) -> PaidPage | None:
        """The completed payments of a page; None where it is none. An empty page has no list at all."""
        if not isinstance(answered.json, dict) or "errors" in answered.json:
            return None
        paid = [each for each in items(answered.json, "payments") if piece(each, "status") == "COMPLETED"]
        refunded = dict(pair for payment in paid if (pair := _refunded(payment)) is not None)
        bodies = tuple(_event(source, payment) for payment in paid)
        return PaidPage(bodies, refunded, text(answered.json, "cursor"))


def _time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _refunded(payment: Json) -> tuple[str, int] | None:
    payment_id, told = text(payment, "id"), piece(payment, "refunded_money")
    if payment_id is None:
        return None
    if told is None or piece(told, "amount") == 0:
        return payment_id, 0
    money = inward(piece(told, "amount"), piece(told, "currency"), {})
    return None if money is None else (payment_id, money[0])


def _event(source: Source, payment: Json) -> bytes:
    kinds, payment_id = source.fields.payment_events, text(payment, "id")
    event: Json = {
        "event_id": f"listed_{payment_id}",
        "type": _KIND if _KIND in kinds else min(kinds),
        "created_at": piece(payment, "updated_at"),
        "data": {"type": "payment", "id": payment_id, "object": {"payment": payment}},
    }
    return json.dumps(event, separators=(",", ":")).encode()
