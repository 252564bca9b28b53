"""Stripe: `Stripe-Signature: t=<seconds>,v1=<hex>`, HMAC-SHA256 over `{t}.{body}`.

The key is the whole secret as text, `whsec_` included. While a secret is rolled the header has one `v1` for each that
is active. Each sending is signed anew, and its body differs from the one before in `pending_webhooks`.

One payment is told by several events. A payment intent is the payment; a charge, where it is asked for, is read as the
payment intent that it belongs to.
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar

from app.errors import SignatureInvalid
from app.providers import mac
from app.providers.protocol import Delivery, Provider, Signed
from app.providers.refunds import Payments, RefundNews, Refunds
from app.providers.stripe.payments import StripePayments
from app.providers.stripe.refunds import EXPONENTS, StripeRefunds, refund_news
from app.saga.model import Json
from app.settings import AmountUnit, Fields, Source

_HEADER = "stripe-signature"


class _Stripe(Provider):
    name = "stripe"
    default_fields = Fields(
        event_type="type",
        payment_events=frozenset({"payment_intent.succeeded"}),
        payment_id="data.object.payment_intent || data.object.id",
        order_id="data.object.metadata.order_id",
        amount="data.object.amount_received || data.object.amount_captured",  # what came, of what was asked for
        amount_unit=AmountUnit.MINOR,
        currency="data.object.currency",
        occurred_at="created",
    )
    mode = "livemode"
    exponents: ClassVar[Mapping[str, int]] = EXPONENTS
    event_id = "id"
    refunds: ClassVar[Refunds | None] = StripeRefunds()
    payments: ClassVar[Payments | None] = StripePayments()

    def secret_fault(self, secret: str) -> str | None:
        """What is wrong with a secret, or None."""
        return mac.text_secret_fault(secret)

    def verify(self, source: Source, headers: Mapping[str, str], body: bytes, now: datetime) -> Delivery:
        """Checks time and signature. Raises SignatureInvalid."""
        timestamp, given = _parts(mac.header(headers, _HEADER))
        mac.check_time(timestamp, source, now)
        mac.check((_signature(key, timestamp, body) for key in mac.keys(source)), given)
        return Delivery(None)

    def sign(self, source: Source, body: bytes, now: datetime, delivery_id: str) -> Signed:  # noqa: ARG002 - the body has it
        """The header. Raises ConfigurationError where the source has no secret."""
        timestamp = str(int(now.timestamp())).encode()
        signature = _signature(mac.signing_secret(source).encode(), timestamp, body)
        return Signed({"Stripe-Signature": f"t={timestamp.decode()},v1={signature.decode()}"}, body)

    def refund_news(self, source: Source, event: Json) -> Sequence[RefundNews]:  # noqa: ARG002 - the same for all
        """What an event tells of a refund or a dispute."""
        return refund_news(event)


def _parts(header: bytes) -> tuple[bytes, list[bytes]]:
    """The signed time and the signatures of version 1."""
    items = [item.partition(b"=") for item in header.split(b",")]
    times = [value for key, _, value in items if key == b"t"]
    if len(times) != 1:  # of two, one reader would take the first and another the last
        raise SignatureInvalid(f"the header {_HEADER} must have one t=, not {len(times)}")
    signatures = [value for key, _, value in items if key == b"v1"]
    if not signatures:
        raise SignatureInvalid(f"the header {_HEADER} has no signature of version v1")
    return times[0], signatures


def _signature(key: bytes, timestamp: bytes, body: bytes) -> bytes:
    return hmac.digest(key, timestamp + b"." + body, hashlib.sha256).hex().encode()


PROVIDER: Provider = _Stripe()
