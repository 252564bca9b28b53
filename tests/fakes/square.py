"""Square as its API is: refunds as JSON with the key in the body, and lists of the account with cursors.

What went wrong is not remembered under a key; what was made is. Lists may be some seconds behind (`lag`).
"""

import re
from datetime import datetime, timedelta
from typing import Any, ClassVar

from app.providers.refunds import RefundStatus
from tests.fakes.ledger import Captured, Given, Overdrawn
from tests.fakes.server import Asked, Fake, Kind, Reply

_STATUS = {
    RefundStatus.PENDING: "PENDING",
    RefundStatus.SUCCEEDED: "COMPLETED",
    RefundStatus.FAILED: "FAILED",
}
_KINDS = {
    ("POST", "/v2/refunds"): Kind.GIVE,
    ("GET", "/v2/refunds"): Kind.LIST,
    ("GET", "/v2/payments"): Kind.PAYMENTS,
}
_LONGEST_KEY = 45
_KEY = re.compile(r"\(makegood_key (\S+)\)")


class SquareFake(Fake):
    """One seller at Square."""

    payment_prefix: ClassVar[str] = "sq_pay_"
    refund_prefix: ClassVar[str] = "sq_ref_"
    most_refunds: ClassVar[int] = 205  # more than a page
    lag = timedelta(0)

    def kind_of(self, asked: Asked) -> Kind:
        """By method and path."""
        return _KINDS.get((asked.method, asked.path), Kind.OTHER)

    def key_of(self, asked: Asked) -> str | None:
        """The key in the body of a wish."""
        return asked.json.get("idempotency_key") if asked.method == "POST" else None

    def answer(self, asked: Asked) -> Reply:
        """A refund, or a list."""
        kind = self.kind_of(asked)
        if kind is Kind.GIVE:
            return self._give(asked.json)
        payments = self.ledger.payments.values()
        if kind is Kind.LIST:
            shown = [
                self.refund_json(refund) for payment in payments for refund in payment.refunds if self._is_shown(refund)
            ]
            return self._page(asked, "refunds", shown)
        if kind is Kind.PAYMENTS:
            return self._page(asked, "payments", [self.payment_json(payment) for payment in payments])
        return _error(404, "NOT_FOUND", "Resource not found.")

    def refusal(self, status: int) -> Reply:
        """As Square words its own trouble."""
        code = {409: "CONFLICT", 429: "RATE_LIMITED", 503: "SERVICE_UNAVAILABLE"}.get(status, "INTERNAL_SERVER_ERROR")
        return _error(status, code, "Something went wrong", "RATE_LIMIT_ERROR" if status == 429 else "API_ERROR")

    def in_use(self) -> Reply:
        """409."""
        return _error(409, "CONFLICT", "Another request with this key is running.")

    def reused(self) -> Reply:
        """400."""
        detail = "The idempotency key can only be retried with the same request data."
        return _error(400, "IDEMPOTENCY_KEY_REUSED", detail)

    # --- what it tells ---

    def payment_event(self, payment: Captured) -> dict[str, Any]:
        """What is told of a payment that is complete."""
        return self._event("payment.updated", "payment", payment.id, self.payment_json(payment))

    def refund_event(self, refund: Given) -> dict[str, Any]:
        """What is told of a refund, as it is now."""
        return self._event("refund.updated", "refund", refund.id, self.refund_json(refund))

    def dispute_event(self, payment: Captured, amount: int, state: str = "EVIDENCE_REQUIRED") -> dict[str, Any]:
        """What is told when the payer's bank wants its money back."""
        said = {
            "id": f"du_{payment.id}",
            "amount_money": _money(payment, amount),
            "state": state,
            "disputed_payment": {"payment_id": payment.id},
            "created_at": _time(self.now()),
        }
        return self._event("dispute.created", "dispute", f"du_{payment.id}", said)

    def payment_json(self, payment: Captured) -> dict[str, Any]:
        """A payment as the API shows it."""
        said = {
            "id": payment.id,
            "created_at": _time(payment.at),
            "updated_at": _time(payment.at),
            "amount_money": _money(payment, payment.amount),
            "total_money": _money(payment, payment.amount),
            "status": "COMPLETED",
            "order_id": f"sq_{payment.order_id}",
            "reference_id": payment.order_id,
        }
        return said | ({"refunded_money": _money(payment, payment.refunded)} if payment.refunds else {})

    def refund_json(self, refund: Given) -> dict[str, Any]:
        """A refund as the API shows it."""
        payment = self.ledger.payments[refund.payment_id]
        return {
            "id": refund.id,
            "status": _STATUS[refund.status],
            "amount_money": _money(payment, refund.amount),
            "payment_id": payment.id,
            "order_id": f"sq_{payment.order_id}",
            "created_at": _time(refund.at),
            "updated_at": _time(refund.at),
            "reason": "by hand" if refund.key is None else f"(makegood_key {refund.key})",
        }

    # --- the inside ---

    def _give(self, wish: dict[str, Any]) -> Reply:
        key, amount = wish.get("idempotency_key"), wish.get("amount_money", {}).get("amount")
        if not isinstance(key, str) or not 1 <= len(key) <= _LONGEST_KEY:
            return _error(400, "VALUE_TOO_LONG", "Field must not be greater than 45 in length")
        payment = self.ledger.payments.get(wish.get("payment_id", ""))
        if payment is None:
            return _error(404, "NOT_FOUND", "Could not find payment")
        if type(amount) is not int or amount < 1 or wish["amount_money"].get("currency") != payment.currency:
            return _error(400, "REFUND_AMOUNT_INVALID", "The refund amount is invalid.", "REFUND_ERROR")
        named = _KEY.search(wish.get("reason", ""))
        try:
            refund = self.ledger.give(
                Given(self.fresh(self.refund_prefix), payment.id, amount, self.outcome, self.now(), named and named[1])
            )
        except Overdrawn:
            detail = "The requested refund amount exceeds the amount available to refund."
            return _error(400, "REFUND_AMOUNT_INVALID", detail, "REFUND_ERROR")
        return Reply(200, {"refund": self.refund_json(refund)})

    def _is_shown(self, refund: Given) -> bool:
        return self.now() - refund.at >= self.lag

    @staticmethod
    def _page(asked: Asked, name: str, items: list[dict[str, Any]]) -> Reply:
        """A page of a list; a list that is empty is left out, and so is the cursor of the last page."""
        items.sort(key=lambda item: str(item["created_at"]), reverse=asked.one("sort_order") != "ASC")
        begin, end = asked.one("begin_time"), asked.one("end_time")
        items = [
            item
            for item in items
            if (begin is None or _at(item) >= datetime.fromisoformat(begin))
            and (end is None or _at(item) < datetime.fromisoformat(end))
        ]
        limit, skip = int(asked.one("limit") or 100), int((asked.one("cursor") or "after 0").removeprefix("after "))
        page = items[skip : skip + limit]
        said: dict[str, Any] = {name: page} if page else {}
        return Reply(200, said | ({"cursor": f"after {skip + limit}"} if skip + limit < len(items) else {}))

    def _event(self, kind: str, name: str, said_id: str, said: dict[str, Any]) -> dict[str, Any]:
        head = {"merchant_id": "ML1", "type": kind, "event_id": self.fresh("ev_"), "created_at": _time(self.now())}
        return head | {"data": {"type": name, "id": said_id, "object": {name: said}}}


def _money(payment: Captured, amount: int) -> dict[str, Any]:
    return {"amount": amount, "currency": payment.currency}


def _time(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _at(item: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(item["created_at"])


def _error(status: int, code: str, detail: str, category: str = "INVALID_REQUEST_ERROR") -> Reply:
    return Reply(status, {"errors": [{"category": category, "code": code, "detail": detail}]}, kept=False)
