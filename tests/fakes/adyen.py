"""Adyen as its Checkout API is: a refund is received, and whether it is made is told by an event. Nothing can be listed.

The ledger is in Adyen's own minor units. What is more than is left is received too, and fails by its event.
"""

import json
import re
from datetime import timedelta
from typing import Any, ClassVar

from app.providers.refunds import RefundStatus
from tests.fakes.ledger import Captured, Given, Overdrawn
from tests.fakes.server import Asked, Fake, Kind, Reply

_GIVE = re.compile(r"/v72/payments/([^/]+)/refunds")
ACCOUNT = "ShopECOM"


class AdyenFake(Fake):
    """One merchant account at Adyen."""

    lifetime: ClassVar[timedelta] = timedelta(days=7)
    payment_prefix: ClassVar[str] = "PSP"
    refund_prefix: ClassVar[str] = "REF"
    tells_later: ClassVar[bool] = True

    def kind_of(self, asked: Asked) -> Kind:
        """By method and path."""
        return Kind.GIVE if asked.method == "POST" and _GIVE.fullmatch(asked.path) else Kind.OTHER

    def key_of(self, asked: Asked) -> str | None:
        """The header."""
        return asked.headers.get("idempotency-key")

    def answer(self, asked: Asked) -> Reply:
        """Receives a refund."""
        form = _GIVE.fullmatch(asked.path)
        if asked.method != "POST" or form is None:
            return _error(404, "000", "Not found")
        payment, wish = self.ledger.payments.get(form[1]), asked.json
        if wish.get("merchantAccount") != ACCOUNT:
            return _error(403, "901", "Invalid Merchant Account")
        if payment is None:
            return _error(422, "167", "Original pspReference required for this operation")
        amount = wish["amount"]
        if amount["currency"] != payment.currency or type(amount["value"]) is not int or amount["value"] < 1:
            return _error(422, "137", "Invalid amount specified")
        refund = Given(
            self.fresh(self.refund_prefix),
            payment.id,
            amount["value"],
            RefundStatus.PENDING,
            self.now(),
            wish.get("reference"),
        )
        try:
            self.ledger.give(refund)
        except Overdrawn:
            refund.status = RefundStatus.FAILED
            payment.refunds.append(refund)  # it is known, and its event says that it was not made
        said = {"paymentPspReference": payment.id, "pspReference": refund.id, "status": "received", **wish}
        return Reply(201, said)

    def refusal(self, status: int) -> Reply:
        """As Adyen words its own trouble."""
        return _error(status, "905" if status >= 500 else "000", "Internal error")

    def in_use(self) -> Reply:
        """A refusal of its own, which is not remembered."""
        return _error(422, "704", "request already processed or in progress")

    def reused(self) -> Reply:
        """A refusal."""
        return _error(422, "702", "The idempotency key was used for another request")

    # --- what it tells ---

    def payment_event(self, payment: Captured) -> dict[str, Any]:
        """What is told when a payment is authorised, and captured by itself."""
        return self._event(payment, "AUTHORISATION", payment.id, payment.order_id, payment.amount)

    def refund_event(self, refund: Given, code: str = "REFUND", *, success: bool | None = None) -> dict[str, Any]:
        """What is told of a refund: `REFUND`, and later perhaps `REFUND_FAILED` or `REFUNDED_REVERSED`."""
        payment = self.ledger.payments[refund.payment_id]
        done = refund.status is not RefundStatus.FAILED if success is None else success
        reference = refund.key or payment.order_id
        return self._event(payment, code, refund.id, reference, refund.amount, success=done, original=payment.id)

    def dispute_event(self, payment: Captured, amount: int, code: str = "CHARGEBACK") -> dict[str, Any]:
        """What is told when the payer's bank wants its money back."""
        dispute = f"DIS{payment.id}"
        return self._event(payment, code, dispute, payment.order_id, amount, original=payment.id)

    def _event(
        self,
        payment: Captured,
        code: str,
        reference: str,
        merchant_reference: str,
        value: int,
        *,
        success: bool = True,
        original: str | None = None,
    ) -> dict[str, Any]:
        item = {
            "additionalData": {},
            "amount": {"currency": payment.currency, "value": value},
            "eventCode": code,
            "eventDate": self.now().isoformat(timespec="seconds"),
            "merchantAccountCode": ACCOUNT,
            "merchantReference": merchant_reference,
            "pspReference": reference,
            "reason": "" if success else "Insufficient balance on payment",
            "success": json.dumps(success),
        }
        if original is not None:
            item["originalReference"] = original
        return {"live": "true", "notificationItems": [{"NotificationRequestItem": item}]}


def _error(status: int, code: str, message: str) -> Reply:
    kind = "validation" if status < 500 else "internal"
    return Reply(status, {"status": status, "errorCode": code, "message": message, "errorType": kind}, kept=False)
