"""Mollie's payments as its API lists them, newest first and by no time: older pages are asked for until they are too old."""

import json
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from app.providers.decimals import decimal_amount
from app.providers.ids import name_at
from app.providers.mollie.refunds import next_page
from app.providers.pieces import moment, piece, text
from app.providers.refunds import Answered, PaidPage, Payments, Question
from app.settings import Source

_PAGE = 100
# The list is by when a payment was made; a transfer by bank is paid days after it.
_PAID_LATER = timedelta(days=7)


class MolliePayments(Payments):
    """How the payments of an account at Mollie are read."""

    def search(self, source: Source, since: datetime, until: datetime, page: str | None) -> Question | None:  # noqa: ARG002 - the list knows no times
        """A page; `page` is the payment that it begins with, and when the one before was made."""
        first, _, made = (page or "").partition("@")
        made_at = moment(made)
        if made_at is not None and made_at < since - _PAID_LATER:
            return None
        begin = f"&from={quote(first, safe='')}" if first else ""
        return Question("GET", f"/v2/payments?limit={_PAGE}{begin}")

    def found(self, source: Source, answered: Answered) -> PaidPage | None:
        """The paid ones of a page, of any time."""
        listed = piece(answered.json, "_embedded", "payments")
        if not isinstance(listed, list):
            return None
        paid = [each for each in listed if text(each, "status") == "paid" and name_at(each, "id") is not None]
        further = next_page(answered.json)
        if further is not None:
            if not listed:
                return None
            further = f"{further}@{text(listed[-1], 'createdAt') or ''}"
        return PaidPage(
            tuple(_body(source, payment) for payment in paid),
            {payment["id"]: _given_back(payment) for payment in paid},
            further,
        )


def _body(source: Source, payment: dict[str, Any]) -> bytes:
    """The event of a payment; where no webhook is signed they are classic, and it is the payment that is read."""
    if not source.secrets:
        return json.dumps(payment).encode()
    event = {
        "resource": "event",
        "id": f"event_{payment['id']}",
        "type": "payment.paid",
        "entityId": payment["id"],
        "createdAt": payment.get("paidAt") or payment.get("createdAt"),
        "_embedded": {"entity": payment},
    }
    return json.dumps(event).encode()


def _given_back(payment: dict[str, Any]) -> int:
    """What was refunded of a payment or charged back, in minor units."""
    parts = (piece(payment, "amountRefunded"), piece(payment, "amountChargedBack"))
    read = (decimal_amount(piece(each, "value"), piece(each, "currency"), {}) for each in parts)
    return sum(money[0] for money in read if money is not None)
