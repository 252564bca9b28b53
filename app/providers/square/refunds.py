"""Square's refunds: `POST /v2/refunds` as JSON with its key in the body, and what its events tell of them.

A refund has no fields of its asker's own but the reason, which carries our key. The refunds of one payment cannot be
asked for: those of the account since the payment was made are read, and the others left out. A new refund may be missing
from the list for some seconds.
"""

import json
import re
from collections.abc import Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import ClassVar
from urllib.parse import urlencode

from app.providers.amounts import inward, outward
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
from app.providers.text import storable
from app.saga.model import Json

_PAGE = 100  # Square's limit

# Square counts as ISO 4217 does.
_AS_ISO: MappingProxyType[str, int] = MappingProxyType({})

_STATUS = MappingProxyType(
    {
        "PENDING": RefundStatus.PENDING,
        "COMPLETED": RefundStatus.SUCCEEDED,
        "REJECTED": RefundStatus.FAILED,
        "FAILED": RefundStatus.FAILED,
    }
)
_REASON = re.compile(rf"\({KEY_FIELD} ([0-9a-f-]{{36}})\)")
_VERDICTS = MappingProxyType(
    {
        "REFUND_AMOUNT_INVALID": Verdict.LOOK_AGAIN,  # more than is left
        "REFUND_ALREADY_PENDING": Verdict.LOOK_AGAIN,
        "REFUND_ERROR_PAYMENT_NEEDS_COMPLETION": Verdict.UNAVAILABLE,
        "TEMPORARY_ERROR": Verdict.UNKNOWN,
        "CONFLICT": Verdict.UNKNOWN,  # a request with this key is still running
    }
)
_INQUIRY = "INQUIRY_"  # the payer's bank asks, and takes nothing


class SquareRefunds(Refunds):
    """The refund protocol of Square."""

    # How long a key is remembered is not published.
    key_lifetime: ClassVar[timedelta] = timedelta(hours=23)

    def search(self, wanted: Wanted, page: str | None) -> Question:
        """A page of the account's refunds since the payment was made, oldest first, so that new ones come at the end."""
        query = {"sort_order": "ASC", "limit": str(_PAGE)}
        made_at = piece(wanted.event, "data", "object", "payment", "created_at")
        if isinstance(made_at, str) and moment(made_at) is not None:
            query["begin_time"] = made_at  # without it: a year ago
        if page is not None:
            query["cursor"] = page
        return Question("GET", f"/v2/refunds?{urlencode(query)}")

    def found(self, wanted: Wanted, answered: Answered) -> Listed | None:
        """The payment's refunds on a page; None where one of them cannot be read. An empty page has no list at all."""
        listed = _listed(answered.json)
        if listed is None:
            return None
        ours = [each for each in listed if piece(each, "payment_id") == wanted.payment_id]
        refunds = tuple(refund for refund in map(_refund, ours) if refund is not None)
        return Listed(refunds, next_page=text(answered.json, "cursor")) if len(refunds) == len(ours) else None

    def give(self, wanted: Wanted) -> Question:
        """The wish. Raises Rejected where the currency is none."""
        body: Json = {
            "idempotency_key": wanted.key,
            "payment_id": wanted.payment_id,
            "amount_money": {
                "amount": outward(wanted.amount, wanted.currency, _AS_ISO),
                "currency": wanted.currency,
            },
            "reason": f"The order was not carried out ({KEY_FIELD} {wanted.key})",
        }
        content = json.dumps(body, separators=(",", ":")).encode()
        return Question("POST", "/v2/refunds", {"Content-Type": "application/json"}, content, body)

    def given(self, wanted: Wanted, answered: Answered) -> Refund | Refusal | None:
        """The refund, or what a refusal of Square's means where the table for all agents would read it wrongly."""
        if succeeded(answered):
            told = piece(answered.json, "refund")
            return _refund(told) if piece(told, "payment_id") == wanted.payment_id else None
        errors = items(answered.json, "errors")
        codes = [text(error, "code") or "" for error in errors]
        said = [word for error in errors for word in (text(error, "code"), text(error, "detail"))]
        if is_server_error(answered):
            return refused(Verdict.UNKNOWN, answered, *said)
        verdict = next((_VERDICTS[code] for code in codes if code in _VERDICTS), None)
        return None if verdict is None else refused(verdict, answered, *said)


def refund_news(event: Json) -> Sequence[RefundNews]:
    """What an event tells of a refund or a dispute."""
    kind, told = text(event, "type") or "", piece(event, "data", "object")
    if kind.startswith("refund."):
        payment_id, refund = text(told, "refund", "payment_id"), _refund(piece(told, "refund"))
    elif kind.startswith("dispute."):
        payment_id = text(told, "dispute", "disputed_payment", "payment_id")
        refund = _dispute(piece(told, "dispute"))
    else:
        return ()
    known = storable(payment_id or "")
    return () if known is None or refund is None else (RefundNews(known, refund),)


def _listed(answer: Json) -> list[Json] | None:
    if not isinstance(answer, dict) or "errors" in answer:
        return None
    listed = answer.get("refunds", [])
    return listed if isinstance(listed, list) else None


def _refund(told: Json) -> Refund | None:
    # A status that is new to us is not over yet.
    status = _STATUS.get(text(told, "status") or "", RefundStatus.PENDING)
    reason = _REASON.search(text(told, "reason") or "")
    return _made(told, status, reason and reason[1])


def _dispute(told: Json) -> Refund | None:
    state = text(told, "state") or ""
    if state.startswith(_INQUIRY):
        return None
    return _made(told, RefundStatus.FAILED if state == "WON" else RefundStatus.DISPUTED, None)


def _made(told: Json, status: RefundStatus, key: str | None) -> Refund | None:
    refund_id = storable(text(told, "id") or "")
    money = inward(piece(told, "amount_money", "amount"), piece(told, "amount_money", "currency"), _AS_ISO)
    if refund_id is None or money is None:
        return None
    return Refund(refund_id, *money, status, key, moment(piece(told, "created_at")))
