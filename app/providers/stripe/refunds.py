"""Stripe's refunds: `POST /v1/refunds` as a form, under an `Idempotency-Key`, and what its events tell of them.

A key is remembered with its answer, also with a 500, for 24 h: a 500 that is given again says nothing new, and only the
list tells. What had not begun (a limit, a lock, a parameter that is none) is not remembered.

Whoever wants to hear of refunds subscribes to `refund.created`, `refund.updated`, `refund.failed` and
`charge.dispute.*`: `charge.refunded` tells a sum and no refund.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import ClassVar
from urllib.parse import urlencode

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

# ISK and UGX are sent with two decimals that are always zero, MGA with none.
EXPONENTS: Mapping[str, int] = MappingProxyType({"ISK": 2, "MGA": 0, "UGX": 2})

_PAGE = 100  # Stripe's limit

_STATUS = MappingProxyType(
    {
        "pending": RefundStatus.PENDING,
        "requires_action": RefundStatus.PENDING,
        "succeeded": RefundStatus.SUCCEEDED,
        "failed": RefundStatus.FAILED,
        "canceled": RefundStatus.FAILED,
    }
)
_TOO_MUCH = {"charge_already_refunded", "amount_too_large"}
_CONFLICT = 409
_EXTERNAL_DEPENDENCY_FAILED = 424

_REFUND_EVENTS = {"refund.created", "refund.updated", "refund.failed", "charge.refund.updated"}
_DISPUTE_EVENTS = "charge.dispute."
_ENQUIRY = "warning_"  # the payer's bank asks, and takes nothing


class StripeRefunds(Refunds):
    """The refund protocol of Stripe."""

    key_lifetime: ClassVar[timedelta] = timedelta(hours=23)  # of "at least 24 h"

    def search(self, wanted: Wanted, page: str | None) -> Question:
        """A page of the payment's refunds, newest first; `page` is the last refund of the one before."""
        query = {_owner(wanted.payment_id): wanted.payment_id, "limit": str(_PAGE)}
        if page is not None:
            query["starting_after"] = page
        return Question("GET", f"/v1/refunds?{urlencode(query)}")

    def found(self, wanted: Wanted, answered: Answered) -> Listed | None:
        """The refunds of a page; None where one of them cannot be read, or is of another payment."""
        listed, more = piece(answered.json, "data"), piece(answered.json, "has_more")
        if not isinstance(listed, list) or not isinstance(more, bool):
            return None
        refunds = [_refund(each) for each in listed if _is_of(each, wanted)]
        read = tuple(refund for refund in refunds if refund is not None)
        if len(read) != len(listed) or (more and not read):
            return None
        return Listed(read, next_page=read[-1].id if more else None)

    def give(self, wanted: Wanted) -> Question:
        """The wish. Raises Rejected where Stripe has no such amount."""
        form = {
            _owner(wanted.payment_id): wanted.payment_id,
            "amount": str(outward(wanted.amount, wanted.currency, EXPONENTS)),
            f"metadata[{KEY_FIELD}]": wanted.key,
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Idempotency-Key": wanted.key}
        return Question("POST", "/v1/refunds", headers, urlencode(form).encode(), form)

    def given(self, wanted: Wanted, answered: Answered) -> Refund | Refusal | None:
        """The refund, or what a refusal of Stripe's means where the table for all agents would read it wrongly."""
        if succeeded(answered):
            return _refund(answered.json) if _is_of(answered.json, wanted) else None
        code = text(answered.json, "error", "code")
        said = code or text(answered.json, "error", "type"), text(answered.json, "error", "message")
        if is_server_error(answered):
            # A repetition under the same key would bring the same answer, for as long as it is remembered.
            final = answered.headers.get("idempotent-replayed") == "true"
            final = final or answered.headers.get("stripe-should-retry") == "false"
            return refused(Verdict.LOOK_AGAIN if final else Verdict.UNKNOWN, answered, *said)
        # A conflict that is no lock: a request with this key is still running.
        running = answered.status == _CONFLICT and code != "lock_timeout"
        if running or answered.status == _EXTERNAL_DEPENDENCY_FAILED:
            return refused(Verdict.UNKNOWN, answered, *said)
        # "Refund amount is greater than unrefunded amount on charge" has no code in most versions of the API.
        beyond = code is None and text(answered.json, "error", "param") == "amount"
        return refused(Verdict.LOOK_AGAIN, answered, *said) if code in _TOO_MUCH or beyond else None


def refund_news(event: Json) -> Sequence[RefundNews]:
    """What an event tells of a refund or a dispute."""
    kind, told = text(event, "type") or "", piece(event, "data", "object")
    payment_id = storable(_payment_id(told) or "")
    if kind in _REFUND_EVENTS:
        refund = _refund(told)
    elif kind.startswith(_DISPUTE_EVENTS):
        refund = _dispute(told)
    else:
        return ()
    return () if payment_id is None or refund is None else (RefundNews(payment_id, refund),)


def _refund(told: Json) -> Refund | None:
    # A status that is new to us is not over yet.
    status = _STATUS.get(text(told, "status") or "", RefundStatus.PENDING)
    return _made(told, status, text(told, "metadata", KEY_FIELD))


def _dispute(told: Json) -> Refund | None:
    status = text(told, "status") or ""
    if status.startswith(_ENQUIRY):
        return None
    return _made(told, RefundStatus.FAILED if status == "won" else RefundStatus.DISPUTED, None)


def _made(told: Json, status: RefundStatus, key: str | None) -> Refund | None:
    refund_id = storable(text(told, "id") or "")
    money = inward(piece(told, "amount"), piece(told, "currency"), EXPONENTS)
    if refund_id is None or money is None:
        return None
    return Refund(refund_id, *money, status, key, moment(piece(told, "created")))


def _owner(payment_id: str) -> str:
    """What the API calls a payment: there are charges without an intent."""
    return "payment_intent" if payment_id.startswith("pi_") else "charge"


def _payment_id(told: Json) -> str | None:
    return text(told, "payment_intent") or text(told, "charge")


def _is_of(told: Json, wanted: Wanted) -> bool:
    return wanted.payment_id in {text(told, "payment_intent"), text(told, "charge")}
