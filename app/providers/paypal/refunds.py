"""PayPal's refunds: `POST /v2/payments/captures/{id}/refund` under a `PayPal-Request-Id`, which is kept for 45 days.

There is no list of a capture's refunds; the order that it belongs to shows them. A capture without an order says only
whether something was refunded: nothing or all of it can be read from that, a part of it cannot.

Our key is the refund's `custom_id`, and its `invoice_id` too: orders show that one, and PayPal refuses it a second time.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import ClassVar
from urllib.parse import urlsplit

from app.providers.decimals import decimal_amount, decimal_text
from app.providers.ids import key_in, name_at, segment
from app.providers.pieces import is_server_error, items, moment, piece, refused, succeeded, text
from app.providers.refunds import (
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

# Those that PayPal has no decimals for.
EXPONENTS: Mapping[str, int] = MappingProxyType({"HUF": 0, "TWD": 0})

_STATUS = MappingProxyType(
    {
        "PENDING": RefundStatus.PENDING,
        "COMPLETED": RefundStatus.SUCCEEDED,
        "FAILED": RefundStatus.FAILED,
        "CANCELLED": RefundStatus.FAILED,
    }
)
_VERDICTS = MappingProxyType(
    {
        "CAPTURE_FULLY_REFUNDED": Verdict.LOOK_AGAIN,
        "REFUND_AMOUNT_EXCEEDED": Verdict.LOOK_AGAIN,
        "DUPLICATE_INVOICE_ID": Verdict.LOOK_AGAIN,
        "REFUND_FAILED_INSUFFICIENT_FUNDS": Verdict.UNAVAILABLE,
        "PENDING_CAPTURE": Verdict.UNAVAILABLE,
        "PREVIOUS_REQUEST_IN_PROGRESS": Verdict.UNKNOWN,
    }
)
_REFUNDED = "REFUNDED"
_NOT_ALL_READ = {_REFUNDED, "PARTIALLY_REFUNDED"}

_REFUND_EVENTS = ("PAYMENT.CAPTURE.REFUNDED", "PAYMENT.CAPTURE.REVERSED", "PAYMENT.REFUND.")
_DISPUTE_EVENTS = "CUSTOMER.DISPUTE."
_ENQUIRY = "INQUIRY"  # the payer asks, and takes nothing
_WON = {"RESOLVED_SELLER_FAVOUR", "CANCELED_BY_BUYER", "DENIED"}


class PaypalRefunds(Refunds):
    """The refund protocol of PayPal."""

    key_lifetime: ClassVar[timedelta] = timedelta(days=44)  # of 45

    def search(self, wanted: Wanted, page: str | None) -> Question:  # noqa: ARG002 - there is one
        """The order of the capture, with all its refunds; where the event tells none, the capture."""
        order_id = name_at(wanted.event, "resource", "supplementary_data", "related_ids", "order_id")
        if order_id is None:
            return Question("GET", f"/v2/payments/captures/{segment(wanted.payment_id)}")
        return Question("GET", f"/v2/checkout/orders/{segment(order_id)}")

    def found(self, wanted: Wanted, answered: Answered) -> Listed | None:
        """The refunds that an order shows, or that a capture lets conclude; None where one cannot be read."""
        units = piece(answered.json, "purchase_units")
        if not isinstance(units, list):
            return _of_capture(answered.json, wanted)
        captures = [each for unit in units for each in items(unit, "payments", "captures")]
        refunds = [each for unit in units for each in items(unit, "payments", "refunds")]
        # A refund that does not say what it is of can only be of the one capture there is.
        only = wanted.payment_id if len(captures) == 1 else None
        owners = [_capture_of(each) or only for each in refunds]
        capture = next((each for each in captures if name_at(each, "id") == wanted.payment_id), None)
        told = [each for each, owner in zip(refunds, owners, strict=True) if owner == wanted.payment_id]
        read = tuple(refund for each in told if (refund := _refund(each)) is not None)
        paid = _money(capture, wanted)
        if None in owners or paid is None or len(read) != len(told):
            return None
        if not read and text(capture, "status") in _NOT_ALL_READ:
            return _of_capture(capture, wanted)
        return Listed(read, paid)

    def give(self, wanted: Wanted) -> Question:
        """The wish. Raises Rejected where PayPal has no such amount."""
        value = decimal_text(wanted.amount, wanted.currency, EXPONENTS)
        body = {
            "amount": {"value": value, "currency_code": wanted.currency},
            "custom_id": wanted.key,
            "invoice_id": wanted.key,
        }
        headers = {
            "Content-Type": "application/json",
            "PayPal-Request-Id": wanted.key,
            "Prefer": "return=representation",
        }
        path = f"/v2/payments/captures/{segment(wanted.payment_id)}/refund"
        return Question("POST", path, headers, json.dumps(body).encode(), body)

    def given(self, wanted: Wanted, answered: Answered) -> Refund | Refusal | None:
        """The refund, or a refusal that the table for all agents would read wrongly."""
        if succeeded(answered):
            return _refund(answered.json, wanted)
        said = items(answered.json, "details")
        issues = [text(each, "issue") or "" for each in said] + [text(answered.json, "name") or ""]
        if is_server_error(answered):
            return refused(Verdict.UNKNOWN, answered, *issues)
        known = [issue for issue in issues if issue in _VERDICTS]
        if not known:
            return None
        return refused(_VERDICTS[known[0]], answered, known[0], text(answered.json, "message"))


def refund_news(event: Json) -> Sequence[RefundNews]:
    """What an event tells of a refund, a reversal or a dispute."""
    kind, told = text(event, "event_type") or "", piece(event, "resource")
    if kind.startswith(_DISPUTE_EVENTS):
        return _dispute_news(told)
    if not kind.startswith(_REFUND_EVENTS):
        return ()
    payment_id, refund = _capture_of(told), _refund(told)
    return () if payment_id is None or refund is None else (RefundNews(payment_id, refund),)


def _dispute_news(told: Json) -> Sequence[RefundNews]:
    """A dispute over one payment or several; what was asked for by it is of the one, of several each is all of it."""
    listed, dispute_id = items(told, "disputed_transactions"), name_at(told, "dispute_id")
    if text(told, "dispute_life_cycle_stage") == _ENQUIRY or dispute_id is None:
        return ()
    won = text(told, "dispute_outcome", "outcome_code") in _WON
    status = RefundStatus.FAILED if won else RefundStatus.DISPUTED
    news = []
    for each in listed:
        asked_for = piece(told, "dispute_amount") if len(listed) == 1 else piece(each, "gross_amount")
        money = decimal_amount(piece(asked_for, "value"), piece(asked_for, "currency_code"), EXPONENTS)
        payment_id = name_at(each, "seller_transaction_id")
        if payment_id is not None and money is not None:
            # One dispute of several payments is one refund of each.
            refund_id = dispute_id if len(listed) == 1 else f"{dispute_id}.{payment_id}"
            news.append(
                RefundNews(payment_id, Refund(refund_id, *money, status, None, moment(piece(told, "create_time"))))
            )
    return news


def _of_capture(capture: Json, wanted: Wanted) -> Listed | None:
    """What the status of a capture lets conclude."""
    paid = _money(capture, wanted)
    if paid is None or name_at(capture, "id") != wanted.payment_id:
        return None
    match text(capture, "status"):
        case "COMPLETED" | "PENDING":
            return Listed((), paid)
        case "REFUNDED":
            # Whoever made it, or them: nothing is left.
            whole = Refund(f"{wanted.payment_id}.refunded", paid, wanted.currency, RefundStatus.SUCCEEDED)
            return Listed((whole,), paid)
        case _:
            return None


def _refund(told: Json, wanted: Wanted | None = None) -> Refund | None:
    """A refund as PayPal shows it; the short form of one has no amount, which then is the one that was wanted."""
    refund_id = name_at(told, "id")
    money = decimal_amount(piece(told, "amount", "value"), piece(told, "amount", "currency_code"), EXPONENTS)
    if money is None and wanted is not None and piece(told, "amount") is None:
        money = wanted.amount, wanted.currency
    status = text(told, "status")
    if refund_id is None or money is None or status is None:
        return None
    key = key_in(piece(told, "custom_id")) or key_in(piece(told, "invoice_id"))
    at = moment(piece(told, "create_time"))
    # A status that is new to us is not over yet.
    return Refund(refund_id, *money, _STATUS.get(status, RefundStatus.PENDING), wanted.key if wanted else key, at)


def _money(capture: Json, wanted: Wanted) -> int | None:
    """What was captured, in minor units of the payment's currency."""
    money = decimal_amount(piece(capture, "amount", "value"), piece(capture, "amount", "currency_code"), EXPONENTS)
    return money[0] if money is not None and money[1] == wanted.currency else None


def _capture_of(refund: Json) -> str | None:
    """The capture that a refund links to."""
    for link in items(refund, "links"):
        *_, folder, name = ["", "", *urlsplit(text(link, "href") or "").path.split("/")]
        if text(link, "rel") == "up" and folder == "captures":
            return storable(name)
    return None
