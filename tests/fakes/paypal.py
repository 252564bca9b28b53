"""PayPal as its REST API is: refunds of captures under a request id, orders that show them, and the transaction search.

The ledger is in minor units of ISO 4217, with PayPal's own decimals on the wire. A capture's order is `ORDER-` and its id.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from app.providers.decimals import decimal_amount, decimal_text
from app.providers.refunds import RefundStatus
from tests.fakes.ledger import Captured, Given, Overdrawn
from tests.fakes.server import Asked, Fake, Kind, Reply

_CAPTURE = re.compile(r"/v2/payments/captures/([^/]+)")
_ORDER = re.compile(r"/v2/checkout/orders/ORDER-([^/]+)")
_GIVE = re.compile(r"/v2/payments/captures/([^/]+)/refund")
_TRANSACTIONS = "/v1/reporting/transactions"
_API = "https://api.paypal.com"
_STATUS = {
    RefundStatus.PENDING: "PENDING",
    RefundStatus.SUCCEEDED: "COMPLETED",
    RefundStatus.FAILED: "FAILED",
}
_LONGEST = timedelta(days=31)
_EXPONENTS = {"HUF": 0, "TWD": 0}


class PaypalFake(Fake):
    """One merchant at PayPal."""

    lifetime: ClassVar[timedelta] = timedelta(days=45)
    payment_prefix: ClassVar[str] = "CAP"
    refund_prefix: ClassVar[str] = "REF"
    tells_parts: ClassVar[bool] = False

    def kind_of(self, asked: Asked) -> Kind:
        """By method and path."""
        if asked.method == "POST":
            return Kind.GIVE if _GIVE.fullmatch(asked.path) else Kind.OTHER
        if asked.path == _TRANSACTIONS:
            return Kind.PAYMENTS
        return Kind.LIST if _CAPTURE.fullmatch(asked.path) or _ORDER.fullmatch(asked.path) else Kind.OTHER

    def key_of(self, asked: Asked) -> str | None:
        """The header; of what changes something alone."""
        return asked.headers.get("paypal-request-id") if asked.method == "POST" else None

    def answer(self, asked: Asked) -> Reply:
        """A refund, a capture, an order, or transactions."""
        if asked.path == _TRANSACTIONS:
            return self._transactions(asked)
        pattern = _GIVE if asked.method == "POST" else _ORDER if _ORDER.fullmatch(asked.path) else _CAPTURE
        form = pattern.fullmatch(asked.path)
        payment = self.ledger.payments.get(form[1]) if form else None
        if payment is None:
            return _error(404, "RESOURCE_NOT_FOUND", "INVALID_RESOURCE_ID")
        if pattern is _GIVE:
            return self._give(payment, asked)
        return Reply(200, self.order_json(payment) if pattern is _ORDER else self.capture_json(payment))

    def refusal(self, status: int) -> Reply:
        """As PayPal words its own trouble."""
        return _error(status, "RATE_LIMIT_REACHED" if status == 429 else "INTERNAL_SERVER_ERROR")

    def in_use(self) -> Reply:
        """409, and it is not remembered."""
        return _error(409, "RESOURCE_CONFLICT", "PREVIOUS_REQUEST_IN_PROGRESS")

    def reused(self) -> Reply:
        """A refusal."""
        return _error(422, "UNPROCESSABLE_ENTITY", "PAYPAL_REQUEST_ID_PREVIOUSLY_USED")

    # --- what it tells ---

    def payment_event(self, payment: Captured) -> dict[str, Any]:
        """What is told when a payment is captured."""
        return self._event("PAYMENT.CAPTURE.COMPLETED", self.capture_json(payment) | {"status": "COMPLETED"})

    def refund_event(self, refund: Given, kind: str = "PAYMENT.CAPTURE.REFUNDED") -> dict[str, Any]:
        """What is told of a refund."""
        return self._event(kind, self.refund_json(refund))

    def dispute_event(self, payments: Sequence[Captured], amount: int, **said: Any) -> dict[str, Any]:
        """What is told when a payer wants money back by a dispute over one payment or several."""
        dispute = {
            "dispute_id": f"PP-D-{payments[0].id}",
            "create_time": _at(self.now()),
            "disputed_transactions": [
                {"seller_transaction_id": each.id, "gross_amount": _money(each.amount, each.currency)}
                for each in payments
            ],
            "dispute_amount": _money(amount, payments[0].currency),
            "dispute_life_cycle_stage": "CHARGEBACK",
            "status": "OPEN",
        }
        return self._event("CUSTOMER.DISPUTE.UPDATED", dispute | said)

    def capture_json(self, payment: Captured) -> dict[str, Any]:
        """A capture as the API shows it."""
        return {
            "id": payment.id,
            "status": _standing(payment),
            "amount": _money(payment.amount, payment.currency),
            "custom_id": payment.order_id,
            "create_time": _at(payment.at),
            "update_time": _at(payment.at),
            "supplementary_data": {"related_ids": {"order_id": f"ORDER-{payment.id}"}},
        }

    def order_json(self, payment: Captured) -> dict[str, Any]:
        """An order with its one capture, and its refunds."""
        refunds = [self.refund_json(each) for each in payment.refunds]
        payments = {"captures": [self.capture_json(payment)]} | ({"refunds": refunds} if refunds else {})
        return {"id": f"ORDER-{payment.id}", "status": "COMPLETED", "purchase_units": [{"payments": payments}]}

    def refund_json(self, refund: Given) -> dict[str, Any]:
        """A refund as the API shows it."""
        payment = self.ledger.payments[refund.payment_id]
        said = {
            "id": refund.id,
            "status": _STATUS[refund.status],
            "amount": _money(refund.amount, payment.currency),
            "create_time": _at(refund.at),
            "links": [
                {"rel": "self", "method": "GET", "href": f"{_API}/v2/payments/refunds/{refund.id}"},
                {"rel": "up", "method": "GET", "href": f"{_API}/v2/payments/captures/{payment.id}"},
            ],
        }
        return said | ({} if refund.key is None else {"custom_id": refund.key, "invoice_id": refund.key})

    # --- the inside ---

    def _give(self, payment: Captured, asked: Asked) -> Reply:
        wish = asked.json
        money = decimal_amount(wish["amount"]["value"], wish["amount"]["currency_code"], _EXPONENTS)
        if money is None or money[1] != payment.currency:
            return _error(422, "UNPROCESSABLE_ENTITY", "REFUND_CAPTURE_CURRENCY_MISMATCH")
        if payment.left == 0:
            return _error(422, "UNPROCESSABLE_ENTITY", "CAPTURE_FULLY_REFUNDED")
        key = wish.get("custom_id")
        if any(each.key == wish.get("invoice_id") for each in self.ledger.standing(payment.id)):
            return _error(422, "UNPROCESSABLE_ENTITY", "DUPLICATE_INVOICE_ID")
        refund = Given(self.fresh(self.refund_prefix), payment.id, money[0], self.outcome, self.now(), key)
        try:
            self.ledger.give(refund)
        except Overdrawn:
            return _error(422, "UNPROCESSABLE_ENTITY", "REFUND_AMOUNT_EXCEEDED")
        whole = self.refund_json(refund)
        short = {name: whole[name] for name in ("id", "status", "links")}
        return Reply(201, whole if asked.headers.get("prefer") == "return=representation" else short)

    def _transactions(self, asked: Asked) -> Reply:
        begin, end = (datetime.fromisoformat(asked.one(f"{edge}_date") or "") for edge in ("start", "end"))
        if end - begin > _LONGEST:
            return _error(400, "INVALID_REQUEST", "INVALID_DATE_RANGE")
        told = [
            {"transaction_info": each}
            for payment in self.ledger.payments.values()
            if begin <= payment.at <= end
            for each in self._transactions_of(payment)
        ]
        size, number = int(asked.one("page_size") or 100), int(asked.one("page") or 1)
        page = told[(number - 1) * size : number * size]
        said = {"transaction_details": page, "page": number, "total_pages": -(-len(told) // size)}
        return Reply(200, said | {"start_date": _reported(begin), "end_date": _reported(end)})

    @staticmethod
    def _transactions_of(payment: Captured) -> list[dict[str, Any]]:
        common = {
            "transaction_initiation_date": _reported(payment.at),
            "transaction_updated_date": _reported(payment.at),
        }
        received: dict[str, Any] = {
            "transaction_id": payment.id,
            "paypal_reference_id": f"ORDER-{payment.id}",
            "paypal_reference_id_type": "ODR",
            "transaction_event_code": "T0006",
            "transaction_status": "V" if payment.left == 0 else "S",
            "transaction_amount": _money(payment.amount, payment.currency),
            "custom_field": payment.order_id,
        }
        given: list[dict[str, Any]] = [
            {
                "transaction_id": each.id,
                "paypal_reference_id": payment.id,
                "paypal_reference_id_type": "TXN",
                "transaction_event_code": "T1107",
                "transaction_status": "S",
                "transaction_amount": {
                    "currency_code": payment.currency,
                    "value": f"-{_written(each.amount, payment)}",
                },
            }
            for each in payment.refunds
        ]
        return [each | common for each in (received, *given)]

    def _event(self, kind: str, resource: dict[str, Any]) -> dict[str, Any]:
        return {"id": self.fresh("WH-"), "event_type": kind, "create_time": _at(self.now()), "resource": resource}


def _standing(payment: Captured) -> str:
    if payment.refunded == 0:
        return "COMPLETED"
    return "REFUNDED" if payment.left == 0 else "PARTIALLY_REFUNDED"


def _written(amount: int, payment: Captured) -> str:
    return decimal_text(amount, payment.currency, _EXPONENTS)


def _money(amount: int, currency: str) -> dict[str, str]:
    return {"value": decimal_text(amount, currency, _EXPONENTS), "currency_code": currency}


def _at(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _reported(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S+0000")


def _error(status: int, name: str, issue: str | None = None) -> Reply:
    details = [] if issue is None else [{"issue": issue, "description": "No."}]
    return Reply(status, {"name": name, "message": "No.", "debug_id": "1", "details": details}, kept=False)
