"""Razorpay's payments, for those that no webhook has told of: `GET /v1/payments`, by the second they were made in.

The list is newest first, and says neither where a page began nor whether it is the last. So each page ends where the one
before has come to, that second included: a payment can be on two pages, and is none the less one payment.
"""

import json
from datetime import datetime
from urllib.parse import urlencode

from app.providers.amounts import inward
from app.providers.pieces import piece, text
from app.providers.refunds import Answered, PaidPage, Payments, Question
from app.saga.model import Json
from app.settings import Source

_PAGE = 100

_KIND = "payment.captured"


class RazorpayPayments(Payments):
    """How payments are read from Razorpay's API. A page is the second that it ends with."""

    def search(self, source: Source, since: datetime, until: datetime, page: str | None) -> Question:  # noqa: ARG002 - the same for all
        """A page of the account's payments, newest first."""
        end = int(until.timestamp()) - 1 if page is None else int(page)
        query = {"from": int(since.timestamp()), "to": end, "count": _PAGE}
        return Question("GET", f"/v1/payments?{urlencode(query)}")

    def found(self, source: Source, answered: Answered) -> PaidPage | None:
        """The captured payments of a page; None where it is none, or is full of one second and hides what is behind."""
        listed = piece(answered.json, "items")
        if not isinstance(listed, list):
            return None
        next_page = None
        if len(listed) >= _PAGE:
            first, last = piece(listed[0], "created_at"), piece(listed[-1], "created_at")
            if type(first) is not int or type(last) is not int or first <= last:
                return None
            next_page = str(last)
        paid = [payment for payment in listed if piece(payment, "captured") is True]
        refunded = dict(pair for payment in paid if (pair := _refunded(payment)) is not None)
        return PaidPage(tuple(_event(source, payment) for payment in paid), refunded, next_page)


def _refunded(payment: Json) -> tuple[str, int] | None:
    payment_id, amount = text(payment, "id"), piece(payment, "amount_refunded")
    money = (0, "") if amount == 0 else inward(amount, piece(payment, "currency"), {})
    return None if payment_id is None or money is None else (payment_id, money[0])


def _event(source: Source, payment: Json) -> bytes:
    kinds = source.fields.payment_events
    event: Json = {
        "entity": "event",
        "event": _KIND if _KIND in kinds else min(kinds),
        "contains": ["payment"],
        "payload": {"payment": {"entity": payment}},
        "created_at": piece(payment, "created_at"),
    }
    return json.dumps(event, separators=(",", ":")).encode()
