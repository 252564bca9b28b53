"""Mollie as its API v2 is: refunds of a payment under a key that is kept for an hour, and lists, newest first, by `from`.

The ledger is in minor units of ISO 4217; on the wire they are decimal text.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar

from app.providers.decimals import decimal_amount, decimal_text
from app.providers.refunds import RefundStatus
from tests.fakes.ledger import Captured, Given, Overdrawn
from tests.fakes.server import Asked, Fake, Kind, Reply

_PAYMENT = re.compile(r"/v2/payments/([^/]+)")
_REFUNDS = re.compile(r"/v2/payments/([^/]+)/refunds")
_STATUS = {
    RefundStatus.PENDING: "pending",
    RefundStatus.SUCCEEDED: "refunded",
    RefundStatus.FAILED: "failed",
}
_MOST = 250  # items of a page


class MollieFake(Fake):
    """One account at Mollie."""

    lifetime: ClassVar[timedelta] = timedelta(hours=1)
    payment_prefix: ClassVar[str] = "tr_"
    refund_prefix: ClassVar[str] = "re_"
    most_refunds: ClassVar[int] = 255  # more than a page

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.chargebacks: list[dict[str, Any]] = []
        self.statuses: dict[str, str] = {}  # of payments that are not paid

    def kind_of(self, asked: Asked) -> Kind:
        """By method and path; the payment is the first page of the list."""
        if asked.method == "POST":
            return Kind.GIVE if _REFUNDS.fullmatch(asked.path) else Kind.OTHER
        if asked.path == "/v2/payments":
            return Kind.PAYMENTS
        return Kind.LIST if _REFUNDS.fullmatch(asked.path) or _PAYMENT.fullmatch(asked.path) else Kind.OTHER

    def key_of(self, asked: Asked) -> str | None:
        """The header; of what changes something alone."""
        return asked.headers.get("idempotency-key") if asked.method == "POST" else None

    def answer(self, asked: Asked) -> Reply:
        """A refund, a payment, or a list."""
        if asked.path == "/v2/payments" and asked.method == "GET":
            return self._page(asked, "payments", [self.payment_json(each) for each in self.ledger.payments.values()])
        form = _REFUNDS.fullmatch(asked.path) or _PAYMENT.fullmatch(asked.path)
        payment = self.ledger.payments.get(form[1]) if form else None
        if payment is None:
            return _error(404, "No payment exists with that token.")
        if asked.method == "POST":
            return self._give(payment, asked.json)
        if _PAYMENT.fullmatch(asked.path):
            return Reply(200, self.payment_json(payment, (asked.one("embed") or "").split(",")))
        return self._page(asked, "refunds", [self.refund_json(each) for each in payment.refunds])

    def refusal(self, status: int) -> Reply:
        """As Mollie words its own trouble."""
        return _error(status, "Something went wrong")

    def in_use(self) -> Reply:
        """409, and it is not remembered."""
        return _error(409, "A request with this idempotency key is being handled")

    def reused(self) -> Reply:
        """A refusal."""
        return _error(400, "The idempotency key was used for another request")

    # --- what it tells ---

    def charge_back(self, payment: Captured, amount: int, reversed_at: datetime | None = None) -> dict[str, Any]:
        """The payer's bank takes money back, or has done so and given it up again."""
        said = {
            "resource": "chargeback",
            "id": self.fresh("chb_"),
            "paymentId": payment.id,
            "amount": _money(amount, payment.currency),
            "createdAt": _at(self.now()),
            "reversedAt": None if reversed_at is None else _at(reversed_at),
        }
        self.chargebacks.append(said)
        return said

    def payment_event(self, payment: Captured) -> dict[str, Any]:
        """A full next-generation event of a payment."""
        return self.event("payment.paid", self.payment_json(payment))

    def refund_event(self, refund: Given) -> dict[str, Any]:
        """A full next-generation event of a refund."""
        said = self.refund_json(refund)
        return self.event(f"refund.{said['status']}", said)

    def event(self, kind: str, entity: Mapping[str, Any]) -> dict[str, Any]:
        """A next-generation event with its entity."""
        head = {"resource": "event", "id": self.fresh("event_"), "type": kind, "entityId": entity["id"]}
        return head | {"createdAt": _at(self.now()), "_embedded": {"entity": dict(entity)}}

    def payment_json(self, payment: Captured, embed: Sequence[str] = ()) -> dict[str, Any]:
        """A payment as the API shows it."""
        taken = [each for each in self.chargebacks if each["paymentId"] == payment.id]
        given = _money(payment.refunded, payment.currency)
        said: dict[str, Any] = {
            "resource": "payment",
            "id": payment.id,
            "mode": "live",
            "status": self.statuses.get(payment.id, "paid"),
            "amount": _money(payment.amount, payment.currency),
            "amountRefunded": given,
            "metadata": {"order_id": payment.order_id},
            "createdAt": _at(payment.at),
            "paidAt": _at(payment.at),
        }
        lists = {"refunds": [self.refund_json(each) for each in payment.refunds], "chargebacks": taken}
        embedded = {name: lists[name] for name in embed if name in lists}
        return said | ({"_embedded": embedded} if embedded else {})

    def refund_json(self, refund: Given) -> dict[str, Any]:
        """A refund as the API shows it."""
        payment = self.ledger.payments[refund.payment_id]
        return {
            "resource": "refund",
            "id": refund.id,
            "paymentId": payment.id,
            "amount": _money(refund.amount, payment.currency),
            "status": _STATUS[refund.status],
            "metadata": None if refund.key is None else {"makegood_key": refund.key},
            "createdAt": _at(refund.at),
        }

    # --- the inside ---

    def _give(self, payment: Captured, wish: Any) -> Reply:
        money = decimal_amount(wish["amount"]["value"], wish["amount"]["currency"], {})
        if money is None or money[1] != payment.currency:
            return _error(422, "The amount contains an invalid value", "amount")
        if payment.left == 0:
            return _error(422, "The payment has already been refunded")
        key = (wish.get("metadata") or {}).get("makegood_key")
        refund = Given(self.fresh(self.refund_prefix), payment.id, money[0], self.outcome, self.now(), key)
        try:
            self.ledger.give(refund)
        except Overdrawn:
            return _error(422, "The amount is higher than the maximum", "amount")
        return Reply(201, self.refund_json(refund))

    @staticmethod
    def _page(asked: Asked, name: str, oldest_first: list[dict[str, Any]]) -> Reply:
        items = oldest_first[::-1]
        begin, limit = asked.one("from"), int(asked.one("limit") or 50)
        ids = [item["id"] for item in items]
        if limit > _MOST or (begin is not None and begin not in ids):
            return _error(400, "Invalid cursor value", "from")
        first = 0 if begin is None else ids.index(begin)
        following = ids[first + limit : first + limit + 1]
        href = f"https://api.mollie.com{asked.path}?from={following[0]}&limit={limit}" if following else None
        links = {"next": None if href is None else {"href": href, "type": "application/hal+json"}}
        page = items[first : first + limit]
        return Reply(200, {"count": len(page), "_embedded": {name: page}, "_links": links})


def _money(amount: int, currency: str) -> dict[str, str]:
    return {"value": decimal_text(amount, currency, {}), "currency": currency}


def _at(at: datetime) -> str:
    return at.isoformat(timespec="seconds")


def _error(status: int, detail: str, field: str | None = None) -> Reply:
    said = {"status": status, "title": "Error", "detail": detail}
    return Reply(status, said | ({} if field is None else {"field": field}), kept=False)
