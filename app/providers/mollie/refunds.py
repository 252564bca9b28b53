"""Mollie's refunds: `POST /v2/payments/{id}/refunds` under an `Idempotency-Key` that is known for an hour, and their list.

First the payment is read, for what was captured of it and what banks have taken back, then its refunds, page by page.
A refund is queued while the balance is too low, and can be cancelled for some time: both are told as its status.
"""

import json
from collections.abc import Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import ClassVar
from urllib.parse import parse_qs, quote, urlsplit

from app.providers.decimals import decimal_amount, decimal_text
from app.providers.ids import key_in, name_at, segment
from app.providers.pieces import is_server_error, items, moment, piece, refused, succeeded, text
from app.providers.refunds import (
    KEY_FIELD,
    Answered,
    Listed,
    Question,
    Refund,
    RefundNews,
    Refunds,
    RefundStatus,
    Refusal,
    Verdict,
    Wanted,
)
from app.saga.model import Json

_PAGE = 250  # Mollie's limit
_FIRST_PAGE = "first"  # of the refunds: the page before it is the payment

_STATUS = MappingProxyType(
    {
        "queued": RefundStatus.PENDING,
        "pending": RefundStatus.PENDING,
        "processing": RefundStatus.PENDING,
        "refunded": RefundStatus.SUCCEEDED,
        "failed": RefundStatus.FAILED,
        "canceled": RefundStatus.FAILED,
    }
)
_CONFLICT = 409
_UNPROCESSABLE = 422


class MollieRefunds(Refunds):
    """The refund protocol of Mollie."""

    key_lifetime: ClassVar[timedelta] = timedelta(minutes=50)  # of about an hour

    def search(self, wanted: Wanted, page: str | None) -> Question:
        """The payment with its chargebacks, then a page of its refunds; `page` is the refund that one begins with."""
        path = f"/v2/payments/{segment(wanted.payment_id)}"
        if page is None:
            return Question("GET", f"{path}?embed=chargebacks")
        begin = "" if page == _FIRST_PAGE else f"&from={quote(page, safe='')}"
        return Question("GET", f"{path}/refunds?limit={_PAGE}{begin}")

    def found(self, wanted: Wanted, answered: Answered) -> Listed | None:
        """What was paid and taken back, or the refunds of a page; None where any of it cannot be read."""
        said = answered.json
        if text(said, "resource") == "payment":
            captured = piece(said, "amountCaptured") or piece(said, "amount")
            paid = decimal_amount(piece(captured, "value"), piece(captured, "currency"), {})
            taken = _all_read(piece(said, "_embedded", "chargebacks") or [], wanted)
            if paid is None or paid[1] != wanted.currency or taken is None or name_at(said, "id") != wanted.payment_id:
                return None
            return Listed(taken, paid=paid[0], next_page=_FIRST_PAGE)
        refunds = _all_read(piece(said, "_embedded", "refunds"), wanted)
        return None if refunds is None else Listed(refunds, next_page=next_page(said))

    def give(self, wanted: Wanted) -> Question:
        """The wish. Raises Rejected where the amount cannot be written."""
        value = decimal_text(wanted.amount, wanted.currency, {})
        body = {
            "amount": {"currency": wanted.currency, "value": value},
            "description": f"Refund of {wanted.order_id}"[:255],  # Mollie's limit
            "metadata": {KEY_FIELD: wanted.key},
        }
        headers = {"Content-Type": "application/json", "Idempotency-Key": wanted.key}
        path = f"/v2/payments/{segment(wanted.payment_id)}/refunds"
        return Question("POST", path, headers, json.dumps(body).encode(), body)

    def given(self, wanted: Wanted, answered: Answered) -> Refund | Refusal | None:
        """The refund, or a refusal that the table for all agents would read wrongly."""
        if succeeded(answered):
            refund = _refund(answered.json)
            return refund if refund is not None and _is_of(answered.json, wanted) else None
        said, at_fault = text(answered.json, "detail") or "", text(answered.json, "field") or ""
        if is_server_error(answered):
            return refused(Verdict.UNKNOWN, answered, said)
        # More than is left; it has been refunded already; one of the same amount was made a moment ago.
        beyond = at_fault.startswith("amount") or "already" in said or "duplicate" in said.lower()
        if answered.status in {_CONFLICT, _UNPROCESSABLE} and beyond:
            return refused(Verdict.LOOK_AGAIN, answered, said)
        return refused(Verdict.UNKNOWN, answered, said) if answered.status == _CONFLICT else None


def refund_news(event: Json) -> Sequence[RefundNews]:
    """What an event, or a payment as the API shows it, tells of refunds and chargebacks."""
    told = piece(event, "_embedded", "entity") or event
    if text(told, "resource") != "payment":
        return _news(name_at(told, "paymentId"), [told])
    listed = [*items(told, "_embedded", "refunds"), *items(told, "_embedded", "chargebacks")]
    return _news(name_at(told, "id"), listed)


def next_page(answer: Json) -> str | None:
    """The item that the next page of a list begins with; None on the last."""
    query = parse_qs(urlsplit(text(answer, "_links", "next", "href") or "").query)
    return query.get("from", [None])[0]


def _news(payment_id: str | None, listed: list[Json]) -> list[RefundNews]:
    refunds = map(_refund, listed)
    return [RefundNews(payment_id, each) for each in refunds if each is not None and payment_id is not None]


def _all_read(listed: Json, wanted: Wanted) -> tuple[Refund, ...] | None:
    """All of a list; None where one of it cannot be read, or is of another payment."""
    if not isinstance(listed, list) or not all(_is_of(each, wanted) for each in listed):
        return None
    read = tuple(refund for each in listed if (refund := _refund(each)) is not None)
    return read if len(read) == len(listed) else None


def _is_of(told: Json, wanted: Wanted) -> bool:
    return name_at(told, "paymentId") == wanted.payment_id


def _refund(told: Json) -> Refund | None:
    """A refund or a chargeback; one that was reversed took nothing."""
    match text(told, "resource"):
        case "refund":
            # A status that is new to us is not over yet.
            status = _STATUS.get(text(told, "status") or "", RefundStatus.PENDING)
        case "chargeback":
            status = RefundStatus.DISPUTED if piece(told, "reversedAt") is None else RefundStatus.FAILED
        case _:
            return None
    refund_id = name_at(told, "id")
    money = decimal_amount(piece(told, "amount", "value"), piece(told, "amount", "currency"), {})
    if refund_id is None or money is None:
        return None
    key = key_in(piece(told, "metadata", KEY_FIELD))
    return Refund(refund_id, *money, status, key, moment(piece(told, "createdAt")))
