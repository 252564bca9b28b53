"""Razorpay's refunds: `POST /v1/payments/{id}/refund` as JSON under `X-Refund-Idempotency`, and what its events tell.

The key needs ten characters or more of letters, digits, `-` and `_`, and always the same body. Refusals differ by their
descriptions alone.
"""

import json
import re
from collections.abc import Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import ClassVar
from urllib.parse import quote

from app.providers.amounts import inward, outward
from app.providers.pieces import is_server_error, moment, piece, refused, succeeded, text
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
from app.providers.text import storable
from app.saga.model import Json

# As many as are given at once, and more than any payment should have.
_MOST = 100

# Razorpay counts as ISO 4217 does.
_AS_ISO: MappingProxyType[str, int] = MappingProxyType({})

_STATUS = MappingProxyType(
    {"pending": RefundStatus.PENDING, "processed": RefundStatus.SUCCEEDED, "failed": RefundStatus.FAILED}
)
_TOO_MUCH = re.compile("fully refunded|greater than", re.IGNORECASE)
_THEIR_TROUBLE = {"GATEWAY_ERROR", "SERVER_ERROR"}
_CONFLICT = 409  # a request with this key is still running

_ENQUIRIES = {"fraud", "retrieval"}  # the payer's bank asks, and takes nothing
_OVER = {"won", "closed"}


class RazorpayRefunds(Refunds):
    """The refund protocol of Razorpay."""

    # How long a key is remembered is not published.
    key_lifetime: ClassVar[timedelta] = timedelta(hours=23)

    def search(self, wanted: Wanted, page: str | None) -> Question:  # noqa: ARG002 - one page holds them all
        """The payment's refunds, newest first."""
        return Question("GET", f"{_payment(wanted)}/refunds?count={_MOST}")

    def found(self, wanted: Wanted, answered: Answered) -> Listed | None:
        """The refunds; None where one cannot be read, is of another payment, or where there may be more of them."""
        listed = piece(answered.json, "items")
        if not isinstance(listed, list) or len(listed) >= _MOST:
            return None
        refunds = [_refund(each) for each in listed if piece(each, "payment_id") == wanted.payment_id]
        read = tuple(refund for refund in refunds if refund is not None)
        return Listed(read) if len(read) == len(listed) else None

    def give(self, wanted: Wanted) -> Question:
        """The wish. Raises Rejected where the currency is none."""
        amount = outward(wanted.amount, wanted.currency, _AS_ISO)
        body: Json = {"amount": amount, "speed": "normal", "notes": {KEY_FIELD: wanted.key}}
        headers = {"Content-Type": "application/json", "X-Refund-Idempotency": wanted.key}
        content = json.dumps(body, separators=(",", ":")).encode()
        return Question("POST", f"{_payment(wanted)}/refund", headers, content, body)

    def given(self, wanted: Wanted, answered: Answered) -> Refund | Refusal | None:
        """The refund, or what a refusal of Razorpay's means where the table for all agents would read it wrongly."""
        if succeeded(answered):
            return _refund(answered.json) if piece(answered.json, "payment_id") == wanted.payment_id else None
        code, said = text(answered.json, "error", "code"), text(answered.json, "error", "description") or ""
        if is_server_error(answered) or code in _THEIR_TROUBLE or answered.status == _CONFLICT:
            return refused(Verdict.UNKNOWN, answered, code, said)
        return refused(Verdict.LOOK_AGAIN, answered, code, said) if _TOO_MUCH.search(said) else None


def refund_news(event: Json) -> Sequence[RefundNews]:
    """What an event tells of a refund or a dispute."""
    kind = text(event, "event") or ""
    if kind.startswith("refund."):
        told = piece(event, "payload", "refund", "entity")
        refund = _refund(told)
    elif kind.startswith("payment.dispute."):
        told = piece(event, "payload", "dispute", "entity")
        refund = _dispute(told)
    else:
        return ()
    payment_id = storable(text(told, "payment_id") or "")
    return () if payment_id is None or refund is None else (RefundNews(payment_id, refund),)


def _refund(told: Json) -> Refund | None:
    # A status that is new to us is not over yet. Notes that are empty come as a list.
    status = _STATUS.get(text(told, "status") or "", RefundStatus.PENDING)
    return _made(told, status, text(told, "notes", KEY_FIELD))


def _dispute(told: Json) -> Refund | None:
    if text(told, "phase") in _ENQUIRIES:
        return None
    return _made(told, RefundStatus.FAILED if text(told, "status") in _OVER else RefundStatus.DISPUTED, None)


def _made(told: Json, status: RefundStatus, key: str | None) -> Refund | None:
    refund_id = storable(text(told, "id") or "")
    money = inward(piece(told, "amount"), piece(told, "currency"), _AS_ISO)
    if refund_id is None or money is None:
        return None
    return Refund(refund_id, *money, status, key, moment(piece(told, "created_at")))


def _payment(wanted: Wanted) -> str:
    return f"/v1/payments/{quote(wanted.payment_id, safe='')}"
