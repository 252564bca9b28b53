"""Stripe as its API is: refunds by form under a key, and lists of refunds, charges and events, newest first.

The ledger is in Stripe's own minor units (ISK and UGX with two decimals).
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, ClassVar

from app.providers.refunds import RefundStatus
from tests.fakes.ledger import Captured, Given, Overdrawn
from tests.fakes.server import Asked, Fake, Kind, Reply

_STATUS = {
    RefundStatus.PENDING: "pending",
    RefundStatus.SUCCEEDED: "succeeded",
    RefundStatus.FAILED: "failed",
}
_LISTS = {"/v1/refunds": Kind.LIST, "/v1/charges": Kind.PAYMENTS, "/v1/events": Kind.PAYMENTS}
_FIELDS = {"payment_intent", "charge", "amount", "reason"}


class StripeFake(Fake):
    """One account at Stripe."""

    payment_prefix: ClassVar[str] = "pi_"
    refund_prefix: ClassVar[str] = "re_"
    most_refunds: ClassVar[int] = 205  # more than a page

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # When a charge was made whose payment came later, by the id of its payment.
        self.began: dict[str, datetime] = {}
        self.disputed: set[str] = set()

    def kind_of(self, asked: Asked) -> Kind:
        """By method and path."""
        if asked.method == "GET":
            return _LISTS.get(asked.path, Kind.OTHER)
        return Kind.GIVE if (asked.method, asked.path) == ("POST", "/v1/refunds") else Kind.OTHER

    def key_of(self, asked: Asked) -> str | None:
        """The header; of what changes something alone."""
        return asked.headers.get("idempotency-key") if asked.method == "POST" else None

    def answer(self, asked: Asked) -> Reply:
        """A refund, or a list."""
        kind = self.kind_of(asked)
        if kind is Kind.GIVE:
            return self._give(asked.form)
        if asked.path == "/v1/refunds":
            payment = self._payment(dict(asked.query))
            if payment is None:
                return _error(404, code="resource_missing", message="No such payment", param="payment_intent")
            return self._page(asked, [self.refund_json(each) for each in reversed(payment.refunds)])
        if asked.path == "/v1/charges":
            return self._page(asked, [self.charge_json(each, asked) for each in self._newest()])
        if asked.path == "/v1/events":
            wanted = {value for name, value in asked.query if name.startswith("types[")}
            told = [(self.payment_event(each), self.charge_event(each)) for each in self._newest()]
            events = [event for both in told for event in both]
            return self._page(asked, [event for event in events if not wanted or event["type"] in wanted])
        return _error(404, code=None, message="Unrecognized request URL")

    def refusal(self, status: int) -> Reply:
        """As Stripe words its own trouble."""
        code = {409: "lock_timeout", 429: "rate_limit"}.get(status)
        return _error(status, code=code, message="Something went wrong", kind="api_error")

    def in_use(self) -> Reply:
        """409, and it is not remembered."""
        return _error(409, code="idempotency_key_in_use", message="There is another request under this key")

    def reused(self) -> Reply:
        """400, of a type of its own."""
        message = "Keys for idempotent requests can only be used with the same parameters"
        return _error(400, code=None, message=message, kind="idempotency_error")

    def replayed(self, reply: Reply) -> Reply:
        """With the header that says so."""
        return Reply(reply.status, reply.json, {**reply.headers, "Idempotent-Replayed": "true"})

    # --- what it tells ---

    def payment_event(self, payment: Captured) -> dict[str, Any]:
        """What is told of a payment by its intent."""
        return self._event(f"evt_{payment.id}", "payment_intent.succeeded", self.intent_json(payment), payment.at)

    def charge_event(self, payment: Captured) -> dict[str, Any]:
        """What is told of the same payment by its charge, as it was then."""
        charge = self.charge_json(payment) | {"amount_refunded": 0, "refunded": False}
        return self._event(f"evt_{charge['id']}", "charge.succeeded", charge, payment.at)

    def refund_event(self, refund: Given, kind: str = "refund.updated") -> dict[str, Any]:
        """What is told of a refund; `refund.created`, `refund.updated` or `refund.failed`."""
        return self._event(self.fresh("evt_"), kind, self.refund_json(refund), self.now())

    def dispute_event(self, payment: Captured, amount: int, status: str = "needs_response") -> dict[str, Any]:
        """What is told when the payer's bank wants its money back."""
        said = {
            "id": f"du_{payment.id}",
            "object": "dispute",
            "amount": amount,
            "currency": payment.currency.lower(),
            "charge": _charge_id(payment),
            "payment_intent": payment.id,
            "status": status,
            "created": int(self.now().timestamp()),
        }
        return self._event(self.fresh("evt_"), "charge.dispute.created", said, self.now())

    def refund_json(self, refund: Given) -> dict[str, Any]:
        """A refund as the API shows it."""
        payment = self.ledger.payments[refund.payment_id]
        return {
            "id": refund.id,
            "object": "refund",
            "amount": refund.amount,
            "charge": _charge_id(payment),
            "created": int(refund.at.timestamp()),
            "currency": payment.currency.lower(),
            "metadata": {} if refund.key is None else {"makegood_key": refund.key},
            "payment_intent": payment.id,
            "reason": None,
            "status": _STATUS[refund.status],
        }

    def intent_json(self, payment: Captured) -> dict[str, Any]:
        """A payment intent as the API shows it."""
        return {
            "id": payment.id,
            "object": "payment_intent",
            "amount": payment.amount,
            "amount_received": payment.amount,
            "created": int(payment.at.timestamp()),
            "currency": payment.currency.lower(),
            "latest_charge": _charge_id(payment),
            "livemode": True,
            "metadata": {"order_id": payment.order_id},
            "status": "succeeded",
        }

    def charge_json(self, payment: Captured, asked: Asked | None = None) -> dict[str, Any]:
        """A charge as the API shows it; its intent whole where that is asked for."""
        expands = asked is not None and "data.payment_intent" in _values(asked, "expand[")
        return {
            "id": _charge_id(payment),
            "object": "charge",
            "amount": payment.amount,
            "amount_captured": payment.amount,
            "amount_refunded": payment.refunded,
            "captured": True,
            "created": int(self.began.get(payment.id, payment.at).timestamp()),
            "currency": payment.currency.lower(),
            "disputed": payment.id in self.disputed,
            "livemode": True,
            "metadata": {"order_id": payment.order_id},
            "paid": True,
            "payment_intent": self.intent_json(payment) if expands else payment.id,
            "refunded": payment.left == 0,
            "status": "succeeded",
        }

    # --- the inside ---

    def _give(self, form: dict[str, str]) -> Reply:
        unknown = [name for name in form if name not in _FIELDS and not name.startswith("metadata[")]
        if unknown:
            message = f"Received unknown parameter: {unknown[0]}"
            return _error(400, code="parameter_unknown", message=message, param=unknown[0])
        payment = self._payment(form)
        if payment is None:
            return _error(404, code="resource_missing", message="No such payment", param="payment_intent")
        amount = form.get("amount", str(payment.left))
        if not amount.isdigit() or int(amount) < 1:
            return _error(400, code="parameter_invalid_integer", message=f"Invalid integer: {amount}", param="amount")
        if payment.left == 0:
            message = f"Charge {_charge_id(payment)} has already been refunded."
            return _error(400, code="charge_already_refunded", message=message, kept=True)
        key = form.get("metadata[makegood_key]")
        try:
            refund = self.ledger.give(Given(self.fresh("re_"), payment.id, int(amount), self.outcome, self.now(), key))
        except Overdrawn:
            message = f"Refund amount ({amount}) is greater than unrefunded amount on charge ({payment.left})"
            return _error(400, code=None, message=message, param="amount", kept=True)
        return Reply(200, self.refund_json(refund))

    def _payment(self, fields: dict[str, str]) -> Captured | None:
        wanted = fields.get("payment_intent"), fields.get("charge")
        return next((each for each in self._newest() if each.id == wanted[0] or _charge_id(each) == wanted[1]), None)

    def _newest(self) -> Iterable[Captured]:
        return reversed(self.ledger.payments.values())

    @staticmethod
    def _page(asked: Asked, items: list[dict[str, Any]]) -> Reply:
        """A page of a list, newest first, behind the item that `starting_after` names."""
        bounds = (int(asked.one("created[gte]") or 0), int(asked.one("created[lt]") or 2**62))
        items = [item for item in items if bounds[0] <= item["created"] < bounds[1]]
        after, limit = asked.one("starting_after"), int(asked.one("limit") or 10)
        ids = [item["id"] for item in items]
        if after is not None and after not in ids:
            return _error(400, code="resource_missing", message=f"No such object: {after}", param="starting_after")
        begin = 0 if after is None else ids.index(after) + 1
        page = items[begin : begin + limit]
        more = begin + limit < len(items)
        return Reply(200, {"object": "list", "url": asked.path, "has_more": more, "data": page})

    @staticmethod
    def _event(event_id: str, kind: str, said: dict[str, Any], at: datetime) -> dict[str, Any]:
        head = {"id": event_id, "object": "event", "created": int(at.timestamp()), "livemode": True, "type": kind}
        return head | {"data": {"object": said}}


def _charge_id(payment: Captured) -> str:
    return f"ch_{payment.id.removeprefix('pi_')}"


def _values(asked: Asked, prefix: str) -> set[str]:
    return {value for name, value in asked.query if name.startswith(prefix)}


def _error(
    status: int,
    *,
    code: str | None,
    message: str,
    param: str | None = None,
    kind: str = "invalid_request_error",
    kept: bool = False,
) -> Reply:
    said = {"type": kind, "message": message, "code": code, "param": param}
    return Reply(status, {"error": {name: value for name, value in said.items() if value is not None}}, kept=kept)
