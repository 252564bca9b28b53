"""Razorpay: `X-Razorpay-Signature`, lower-case hex of HMAC-SHA256 over the body, with the webhook's own secret.

The event's id is in a header that is not signed: a body that was seen can be sent again under another one, and is the
same payment all the same.
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar

from app.providers import mac
from app.providers.protocol import Delivery, Provider, Signed
from app.providers.razorpay.payments import RazorpayPayments
from app.providers.razorpay.refunds import RazorpayRefunds, refund_news
from app.providers.refunds import Payments, RefundNews, Refunds
from app.providers.text import storable
from app.saga.model import Json
from app.settings import AmountUnit, Fields, Source

_ENTITY = "payload.payment.entity"


class _Razorpay(Provider):
    name = "razorpay"
    default_fields = Fields(
        event_type="event",
        payment_events=frozenset({"payment.captured"}),
        payment_id=f"{_ENTITY}.id",
        order_id=f"{_ENTITY}.notes.order_id || {_ENTITY}.order_id",
        amount=f"{_ENTITY}.amount",
        amount_unit=AmountUnit.MINOR,
        currency=f"{_ENTITY}.currency",
        occurred_at="created_at",
    )
    refunds: ClassVar[Refunds | None] = RazorpayRefunds()
    payments: ClassVar[Payments | None] = RazorpayPayments()

    def secret_fault(self, secret: str) -> str | None:
        """What is wrong with a secret, or None."""
        return mac.text_secret_fault(secret)

    def verify(self, source: Source, headers: Mapping[str, str], body: bytes, now: datetime) -> Delivery:  # noqa: ARG002 - no time is signed
        """Checks the signature. Raises SignatureInvalid."""
        given = mac.header(headers, "x-razorpay-signature")
        mac.check((_signature(key, body) for key in mac.keys(source)), [given])
        return Delivery(storable(headers.get("x-razorpay-event-id", "")))

    def sign(self, source: Source, body: bytes, now: datetime, delivery_id: str) -> Signed:  # noqa: ARG002 - no time is signed
        """The headers. Raises ConfigurationError where the source has no secret."""
        signature = _signature(mac.signing_secret(source).encode(), body).decode()
        return Signed({"X-Razorpay-Signature": signature, "x-razorpay-event-id": delivery_id}, body)

    def refund_news(self, source: Source, event: Json) -> Sequence[RefundNews]:  # noqa: ARG002 - the same for all
        """What an event tells of a refund or a dispute."""
        return refund_news(event)


def _signature(key: bytes, body: bytes) -> bytes:
    return hmac.digest(key, body, hashlib.sha256).hex().encode()


PROVIDER: Provider = _Razorpay()
