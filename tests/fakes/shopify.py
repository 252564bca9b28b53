"""Shopify as its Admin API is: one path for GraphQL, told apart by what the document does; keys by a directive, for 24 h.

The ledger is in minor units of the shop's currency; on the wire they are decimal text. An order is paid by one capture.
Where `presented` has a currency and a rate, orders are paid in that, and refunds are asked for in that.
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar

from app.providers.decimals import decimal_text
from app.providers.refunds import RefundStatus
from tests.fakes.ledger import Captured, Given, Overdrawn
from tests.fakes.server import Asked, Fake, Kind, Reply

_PATH = "/admin/api/2026-04/graphql.json"
_STATUS = {
    RefundStatus.PENDING: "PENDING",
    RefundStatus.SUCCEEDED: "SUCCESS",
    RefundStatus.FAILED: "FAILURE",
}


class ShopifyFake(Fake):
    """One shop at Shopify."""

    payment_prefix: ClassVar[str] = "8209829119"  # orders have large numbers
    refund_prefix: ClassVar[str] = "9000000"
    most_refunds: ClassVar[int] = 39

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.presented: tuple[str, Decimal] | None = None

    def kind_of(self, asked: Asked) -> Kind:
        """By what the document does."""
        if asked.path != _PATH:
            return Kind.OTHER
        document = asked.json["query"]
        if "refundCreate(" in document:
            return Kind.GIVE
        return Kind.PAYMENTS if "orders(" in document else Kind.LIST

    def key_of(self, asked: Asked) -> str | None:
        """The directive's."""
        key: str | None = asked.json["variables"].get("key") if self.kind_of(asked) is Kind.GIVE else None
        return key

    def answer(self, asked: Asked) -> Reply:
        """A refund, an order, or orders; the document says what for, its variables of what."""
        kind = self.kind_of(asked)
        if kind is Kind.OTHER:
            return Reply(404, {"errors": "Not Found"}, kept=False)
        variables = asked.json["variables"]
        if kind is Kind.GIVE:
            if "@idempotent(key: $key)" not in asked.json["query"]:
                return _wrong("BAD_REQUEST", "The @idempotent directive is required for this mutation")
            return self._give(variables["input"])
        if kind is Kind.PAYMENTS:
            return self._orders(variables)
        payment = self._payment(variables["id"])
        return Reply(200, {"data": {"order": None if payment is None else self.order_json(payment)}})

    def refusal(self, status: int) -> Reply:
        """As Shopify words its own trouble; 429 is 200 with an error, as it is for GraphQL."""
        if status == 429:
            return _wrong("THROTTLED", "Throttled")
        return Reply(status, {"errors": "Internal Server Error"}, kept=False)

    def in_use(self) -> Reply:
        """An error of the mutation, which is not remembered."""
        return _user_error("This request is currently in progress, please try again.")

    def reused(self) -> Reply:
        """An error of the mutation."""
        return _user_error("The same idempotency key cannot be used with different operation parameters.")

    def basis_of(self, payment: Captured) -> Any:
        """The one transaction that an order is paid by."""
        whole = decimal_text(payment.amount, payment.currency, {})
        named = {"parent": _transaction(payment.id), "gateway": "shopify_payments"}
        return [named | {"left": payment.amount, "presented": whole, "currency": payment.currency}]

    # --- what it tells ---

    def payment_event(self, payment: Captured) -> dict[str, Any]:
        """The body of `orders/paid`."""
        return {
            "id": int(payment.id),
            "name": payment.order_id,
            "currency": payment.currency,
            "total_price": decimal_text(payment.amount, payment.currency, {}),
            "financial_status": "paid",
            "payment_gateway_names": ["shopify_payments"],
            "processed_at": _at(payment.at),
            "test": False,
            "refunds": [],
        }

    def refund_event(self, refund: Given) -> dict[str, Any]:
        """The body of `refunds/create`."""
        payment = self.ledger.payments[refund.payment_id]
        made = {
            "kind": "refund",
            "status": _STATUS[refund.status].lower(),
            "amount": decimal_text(refund.amount, payment.currency, {}),
            "currency": payment.currency,
        }
        return {
            "id": int(refund.id),
            "order_id": int(payment.id),
            "created_at": _at(refund.at),
            "note": None if refund.key is None else f"makegood_key {refund.key}",
            "refund_line_items": [],
            "transactions": [made],
        }

    def dispute_event(self, payment: Captured, amount: int, **said: Any) -> dict[str, Any]:
        """The body of `disputes/create` and `disputes/update`."""
        dispute = {
            "id": 1,
            "order_id": int(payment.id),
            "type": "chargeback",
            "amount": decimal_text(amount, payment.currency, {}),
            "currency": payment.currency,
            "status": "needs_response",
            "initiated_at": _at(self.now()),
        }
        return dispute | said

    def order_json(self, payment: Captured) -> dict[str, Any]:
        """An order as the API shows it, with all that may be asked for."""
        captured = {
            "id": _transaction(payment.id),
            "kind": "SALE",
            "status": "SUCCESS",
            "gateway": "shopify_payments",
            "amountSet": self._money(payment.amount, payment),
            "parentTransaction": None,
        }
        back = [self._back(each) | {"parentTransaction": {"id": captured["id"]}} for each in payment.refunds]
        status = "PAID" if payment.refunded == 0 else "REFUNDED" if payment.left == 0 else "PARTIALLY_REFUNDED"
        return {
            "id": f"gid://shopify/Order/{payment.id}",
            "name": payment.order_id,
            "currencyCode": payment.currency,
            "presentmentCurrencyCode": self.presented[0] if self.presented else payment.currency,
            "displayFinancialStatus": status,
            "processedAt": _at(payment.at),
            "test": False,
            "note": None,
            "paymentGatewayNames": ["shopify_payments"],
            "customAttributes": [{"key": "cart", "value": "7"}],
            "totalPriceSet": self._money(payment.amount, payment),
            "totalRefundedSet": self._money(payment.refunded, payment),
            "transactions": [captured, *back],
            "refunds": [self.refund_json(each) for each in payment.refunds],
        }

    def refund_json(self, refund: Given) -> dict[str, Any]:
        """A refund as the API shows it."""
        payment = self.ledger.payments[refund.payment_id]
        standing = 0 if refund.status is RefundStatus.FAILED else refund.amount
        return {
            "id": f"gid://shopify/Refund/{refund.id}",
            "note": None if refund.key is None else f"makegood_key {refund.key}",
            "createdAt": _at(refund.at),
            "totalRefundedSet": self._money(standing, payment),
            "transactions": {"nodes": [self._back(refund)]},
        }

    # --- the inside ---

    def _give(self, wish: dict[str, Any]) -> Reply:
        payment = self._payment(wish["orderId"])
        if payment is None:
            return _user_error("Order does not exist")
        currency = self.presented[0] if self.presented else payment.currency
        if wish.get("currency", currency) != currency:
            return _user_error("Currency is not the presentment currency of the order")
        amount = Decimal(0)
        for each in wish["transactions"]:
            if each["kind"] != "REFUND" or each["gateway"] != "shopify_payments":
                return _user_error("Transactions is invalid")
            if each.get("parentId") != _transaction(payment.id):
                return _user_error("Transactions must have a parent")
            amount += Decimal(each["amount"])
        key = (wish.get("note") or "").removeprefix("makegood_key ") or None
        refund = Given(
            self.fresh(self.refund_prefix), payment.id, self._kept_as(amount, payment), self.outcome, self.now(), key
        )
        try:
            self.ledger.give(refund)
        except Overdrawn:
            return _user_error("Refund amount cannot be more than what is available to refund")
        made = {"refund": self.refund_json(refund), "userErrors": []}
        return Reply(200, {"data": {"refundCreate": made}})

    def _orders(self, variables: dict[str, Any]) -> Reply:
        orders = [self.order_json(each) for each in self.ledger.payments.values()]
        # Of the query's language only the two times are understood.
        begin, end = (variables["query"].split("'")[place] for place in (1, 3))
        orders = [each for each in orders if begin <= each["processedAt"] <= end]
        first = int(variables["after"] or 0)
        page, behind = orders[first : first + 20], first + 20
        info = {"hasNextPage": behind < len(orders), "endCursor": str(behind)}
        return Reply(200, {"data": {"orders": {"pageInfo": info, "nodes": page}}})

    def _payment(self, gid: str) -> Captured | None:
        return self.ledger.payments.get(gid.removeprefix("gid://shopify/Order/"))

    def _back(self, refund: Given) -> dict[str, Any]:
        payment = self.ledger.payments[refund.payment_id]
        return {
            "id": _transaction(refund.id),
            "kind": "REFUND",
            "status": _STATUS[refund.status],
            "gateway": "shopify_payments",
            "amountSet": self._money(refund.amount, payment),
        }

    def _money(self, amount: int, payment: Captured) -> dict[str, Any]:
        kept = decimal_text(amount, payment.currency, {})
        currency, rate = self.presented or (payment.currency, Decimal(1))
        presented = str((Decimal(kept) * rate).quantize(Decimal("0.01"))) if self.presented else kept
        return {
            "shopMoney": {"amount": kept, "currencyCode": payment.currency},
            "presentmentMoney": {"amount": presented, "currencyCode": currency},
        }

    def _kept_as(self, amount: Decimal, payment: Captured) -> int:
        """What was presented, in minor units of the shop's currency."""
        rate = self.presented[1] if self.presented else Decimal(1)
        digits = len(decimal_text(1, payment.currency, {}).partition(".")[2])
        return int((amount / rate * 10**digits).quantize(Decimal(1)))


def _transaction(number: str) -> str:
    return f"gid://shopify/OrderTransaction/{number}"


def _at(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _user_error(message: str) -> Reply:
    made = {"refund": None, "userErrors": [{"field": ["transactions"], "message": message}]}
    return Reply(200, {"data": {"refundCreate": made}}, kept=False)


def _wrong(code: str, message: str) -> Reply:
    return Reply(200, {"errors": [{"message": message, "extensions": {"code": code}}]}, kept=False)
