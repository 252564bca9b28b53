"""Razorpay as its API is: refunds as JSON under `X-Refund-Idempotency`, and lists by time, count and skip, newest first."""

import re
from collections.abc import Sequence
from typing import Any, ClassVar
from urllib.parse import unquote

from app.providers.refunds import RefundStatus
from tests.fakes.ledger import Captured, Given, Overdrawn
from tests.fakes.server import Asked, Fake, Kind, Reply

_STATUS = {
    RefundStatus.PENDING: "pending",
    RefundStatus.SUCCEEDED: "processed",
    RefundStatus.FAILED: "failed",
}
_PATH = re.compile(r"/v1/payments/([^/]+)/(refunds?)")
_KEY = re.compile(r"[A-Za-z0-9_-]{10,}")


class RazorpayFake(Fake):
    """One account at Razorpay."""

    payment_prefix: ClassVar[str] = "pay_"
    refund_prefix: ClassVar[str] = "rfnd_"

    def kind_of(self, asked: Asked) -> Kind:
        """By method and path."""
        path = _PATH.fullmatch(asked.path)
        if path is not None:
            return {("POST", "refund"): Kind.GIVE, ("GET", "refunds"): Kind.LIST}.get(
                (asked.method, path[2]), Kind.OTHER
            )
        return Kind.PAYMENTS if (asked.method, asked.path) == ("GET", "/v1/payments") else Kind.OTHER

    def key_of(self, asked: Asked) -> str | None:
        """The header of its own; of wishes alone."""
        return asked.headers.get("x-refund-idempotency") if asked.method == "POST" else None

    def answer(self, asked: Asked) -> Reply:
        """A refund, or a list."""
        if self.kind_of(asked) is Kind.PAYMENTS:
            return _page(asked, [self.payment_json(each) for each in self.ledger.payments.values()])
        path = _PATH.fullmatch(asked.path)
        payment = None if path is None else self.ledger.payments.get(unquote(path[1]))
        if payment is None:
            return _error(400, "The id provided does not exist")
        if self.kind_of(asked) is Kind.LIST:
            return _page(asked, [self.refund_json(refund) for refund in payment.refunds])
        key = self.key_of(asked)
        if key is not None and not _KEY.fullmatch(key):
            return _error(400, "The idempotency key must be at least 10 characters.")
        return self._give(payment, asked.json)

    def refusal(self, status: int) -> Reply:
        """As Razorpay words its own trouble."""
        code = "SERVER_ERROR" if status >= 500 else "BAD_REQUEST_ERROR"
        return _error(status, "We are facing some trouble completing your request at the moment.", code)

    def in_use(self) -> Reply:
        """409."""
        return _error(409, "Request failed because another request is in progress with the same idempotency key")

    def reused(self) -> Reply:
        """400."""
        return _error(400, "Different request with the same idempotency key has already been processed.")

    # --- what it tells ---

    def payment_event(self, payment: Captured) -> dict[str, Any]:
        """What is told of a payment that was captured."""
        return self._event("payment.captured", "payment", self.payment_json(payment))

    def refund_event(self, refund: Given) -> dict[str, Any]:
        """What is told of a refund, as it is now."""
        kind = {"pending": "created"}.get(_STATUS[refund.status], _STATUS[refund.status])
        return self._event(f"refund.{kind}", "refund", self.refund_json(refund))

    def dispute_event(
        self, payment: Captured, amount: int, status: str = "open", phase: str = "chargeback"
    ) -> dict[str, Any]:
        """What is told when the payer's bank wants its money back."""
        said = {
            "id": f"disp_{payment.id}",
            "entity": "dispute",
            "payment_id": payment.id,
            "amount": amount,
            "currency": payment.currency,
            "amount_deducted": amount if status == "lost" else 0,
            "status": status,
            "phase": phase,
            "created_at": int(self.now().timestamp()),
        }
        return self._event("payment.dispute.created", "dispute", said)

    def payment_json(self, payment: Captured) -> dict[str, Any]:
        """A payment as the API shows it."""
        return {
            "id": payment.id,
            "entity": "payment",
            "amount": payment.amount,
            "currency": payment.currency,
            "status": "refunded" if payment.left == 0 else "captured",
            "amount_refunded": payment.refunded,
            "captured": True,
            "notes": {"order_id": payment.order_id},
            "created_at": int(payment.at.timestamp()),
        }

    def refund_json(self, refund: Given) -> dict[str, Any]:
        """A refund as the API shows it; notes that are empty are a list."""
        return {
            "id": refund.id,
            "entity": "refund",
            "amount": refund.amount,
            "currency": self.ledger.payments[refund.payment_id].currency,
            "payment_id": refund.payment_id,
            "notes": [] if refund.key is None else {"makegood_key": refund.key},
            "receipt": None,
            "created_at": int(refund.at.timestamp()),
            "status": _STATUS[refund.status],
        }

    # --- the inside ---

    def _give(self, payment: Captured, wish: dict[str, Any]) -> Reply:
        if payment.left == 0:
            return _error(400, "The payment has been fully refunded already")
        amount = wish.get("amount", payment.left)
        if type(amount) is not int or amount < 1:
            return _error(400, "The amount must be an integer.")
        notes = wish.get("notes") or {}
        try:
            refund = self.ledger.give(
                Given(
                    self.fresh(self.refund_prefix),
                    payment.id,
                    amount,
                    self.outcome,
                    self.now(),
                    notes.get("makegood_key"),
                )
            )
        except Overdrawn:
            return _error(400, "The total refund amount is greater than the refund payment amount")
        return Reply(200, self.refund_json(refund))

    def _event(self, kind: str, name: str, said: dict[str, Any]) -> dict[str, Any]:
        head = {"entity": "event", "account_id": "acc_1", "event": kind, "contains": [name]}
        return head | {"payload": {name: {"entity": said}}, "created_at": int(self.now().timestamp())}


def _page(asked: Asked, items: Sequence[dict[str, Any]]) -> Reply:
    begin, end = int(asked.one("from") or 0), int(asked.one("to") or 2**40)
    newest = [item for item in reversed(items) if begin <= item["created_at"] <= end]
    count, skip = min(int(asked.one("count") or 10), 100), int(asked.one("skip") or 0)
    page = newest[skip : skip + count]
    return Reply(200, {"entity": "collection", "count": len(page), "items": page})


def _error(status: int, description: str, code: str = "BAD_REQUEST_ERROR") -> Reply:
    return Reply(status, {"error": {"code": code, "description": description}}, kept=False)
