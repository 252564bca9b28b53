"""PayPal's payments as its transaction search tells of them: up to 31 days at once, and up to three hours late.

The search has its own form; what it says of a capture is put into the form of `PAYMENT.CAPTURE.COMPLETED`.
"""

import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from app.providers.decimals import decimal_amount
from app.providers.ids import name_at
from app.providers.paypal.refunds import EXPONENTS
from app.providers.pieces import moment, piece, text
from app.providers.refunds import Answered, PaidPage, Payments, Question
from app.settings import Source

_PAGE = 100
_LONGEST = timedelta(days=31)  # PayPal's limit of one search

# Payments by an approval given before, by card, by checkout, and by PayPal's own pages.
_RECEIVED = {"T0003", "T0005", "T0006", "T0007"}
_SUCCEEDED, _REVERSED = "S", "V"


class PaypalPayments(Payments):
    """How the payments of an account at PayPal are read."""

    def search(self, source: Source, since: datetime, until: datetime, page: str | None) -> Question | None:  # noqa: ARG002 - the same for all
        """A page; `page` is its number, and from when on its search goes."""
        number, _, begun = (page or "1@").partition("@")
        begin = moment(begun) or since
        last = datetime.fromtimestamp(math.ceil(until.timestamp()), UTC)
        end = min(last, begin + _LONGEST)
        if begin + timedelta(seconds=1) > end:  # it asks in whole seconds
            return None
        query = {
            "start_date": _written(begin),
            "end_date": _written(end),
            "fields": "transaction_info",
            "page_size": str(_PAGE),
            "page": number,
        }
        return Question("GET", f"/v1/reporting/transactions?{urlencode(query)}")

    def found(self, source: Source, answered: Answered) -> PaidPage | None:  # noqa: ARG002 - the same for all
        """The payments of a page; behind the last of one search comes the next, from where it has ended."""
        said = answered.json
        listed, number, last = (piece(said, key) for key in ("transaction_details", "page", "total_pages"))
        begin, end = (_moment(piece(said, f"{edge}_date")) for edge in ("start", "end"))
        if not isinstance(listed, list) or type(number) is not int or type(last) is not int or not begin or not end:
            return None
        told = [piece(each, "transaction_info") for each in listed]
        paid = [each for each in told if _is_paid(each)]
        given_back = {
            each["transaction_id"]: money[0]
            for each in paid
            if each["transaction_status"] == _REVERSED and (money := _money(each)) is not None
        }
        further = f"{number + 1}@{_written(begin)}" if number < last else f"1@{_written(end)}"
        return PaidPage(tuple(_body(each) for each in paid), given_back, further)


def _is_paid(told: Any) -> bool:
    """A payment that has come in, whether or not it went back again."""
    return (
        name_at(told, "transaction_id") is not None
        and text(told, "transaction_event_code") in _RECEIVED
        and text(told, "transaction_status") in {_SUCCEEDED, _REVERSED}
        and _money(told) is not None
    )


def _money(told: Any) -> tuple[int, str] | None:
    """What came in; what went out has a sign, and is none."""
    amount = piece(told, "transaction_amount")
    return decimal_amount(piece(amount, "value"), piece(amount, "currency_code"), EXPONENTS)


def _body(told: dict[str, Any]) -> bytes:
    at = _moment(told.get("transaction_initiation_date"))
    written = None if at is None else _written(at)
    resource = {
        "id": told["transaction_id"],
        "status": "COMPLETED",
        "amount": told["transaction_amount"],
        "custom_id": told.get("custom_field"),
        "invoice_id": told.get("invoice_id"),
        "create_time": written,
        "update_time": written,
    }
    if told.get("paypal_reference_id_type") == "ODR":  # the order, from which the refunds can be read
        resource["supplementary_data"] = {"related_ids": {"order_id": told.get("paypal_reference_id")}}
    event = {
        "id": f"capture-{told['transaction_id']}",
        "event_type": "PAYMENT.CAPTURE.COMPLETED",
        "resource_type": "capture",
        "create_time": written,
        "resource": resource,
    }
    return json.dumps(event).encode()


def _moment(text: Any) -> datetime | None:
    """A time of the search, which writes its offset without a colon."""
    return moment(text.replace("+0000", "Z")) if isinstance(text, str) else None


def _written(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
