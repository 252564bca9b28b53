"""Shopify: `X-Shopify-Hmac-Sha256`, base64 of HMAC-SHA256 over the body, with the app's client secret.

None of the headers is signed, and the topic is one of them: an order that waits for its money could be sent again as one
that was paid. So the order itself must say that it is paid. Newer deliveries have the same headers without `X-`.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar

from app.providers import mac
from app.providers.protocol import Delivery, Provider, Signed
from app.providers.refunds import Payments, RefundNews, Refunds
from app.providers.shopify.news import refund_news
from app.providers.shopify.payments import EVENT_ID, ShopifyPayments
from app.providers.shopify.refunds import ShopifyRefunds
from app.providers.text import storable
from app.saga.model import Json
from app.settings import AmountUnit, Fields, Source

_SIGNATURE = "shopify-hmac-sha256"


class _Shopify(Provider):
    name = "shopify"
    default_fields = Fields(
        event_type="topic",  # which no order has: the header's counts
        payment_events=frozenset({"orders/paid"}),
        payment_id="id",
        order_id="name",
        amount="total_price",
        amount_unit=AmountUnit.MAJOR,
        currency="currency",
        occurred_at="processed_at",
    )
    received = "financial_status && financial_status == 'paid'"
    mode = "test && 'test' || 'live'"
    event_id = EVENT_ID  # of an order that was read; one that is told has its event's id in a header
    refunds: ClassVar[Refunds | None] = ShopifyRefunds()
    payments: ClassVar[Payments | None] = ShopifyPayments()

    def secret_fault(self, secret: str) -> str | None:
        """What is wrong with a secret, or None."""
        return mac.text_secret_fault(secret)

    def verify(self, source: Source, headers: Mapping[str, str], body: bytes, now: datetime) -> Delivery:  # noqa: ARG002 - no time is signed
        """Checks the signature. Raises SignatureInvalid."""
        family = "" if _SIGNATURE in headers else "x-"
        given = mac.header(headers, family + _SIGNATURE)
        mac.check((_signature(key, body) for key in mac.keys(source)), [given])
        topic = storable(mac.header(headers, f"{family}shopify-topic").decode("latin-1"))
        # One act of the merchant has one event id, under all its topics; a delivery has its own, the same when repeated.
        named = (headers.get(f"{family}shopify-{part}-id", "") for part in ("event", "webhook"))
        return Delivery(next(filter(None, map(storable, named)), None), topic)

    def sign(self, source: Source, body: bytes, now: datetime, delivery_id: str) -> Signed:  # noqa: ARG002 - no time is signed
        """The headers of a paid order. Raises ConfigurationError where the source has no secret."""
        headers = {
            "X-Shopify-Topic": min(source.fields.payment_events),
            "X-Shopify-Hmac-Sha256": _signature(mac.signing_secret(source).encode(), body).decode(),
            "X-Shopify-Event-Id": delivery_id,
        }
        return Signed(headers, body)

    def refund_news(self, source: Source, event: Json) -> Sequence[RefundNews]:  # noqa: ARG002 - the same for all
        """What a body tells of refunds or a dispute: the topic stands in no body, its shape tells it."""
        return refund_news(event)


def _signature(key: bytes, body: bytes) -> bytes:
    return base64.b64encode(hmac.digest(key, body, hashlib.sha256))


PROVIDER: Provider = _Shopify()
