"""Square: `x-square-hmacsha256-signature`, base64 of HMAC-SHA256 over the notification URL and the body.

The URL is the one that was registered, byte for byte, whatever a proxy makes of it: it is taken from the configuration.
All states of a payment come as one type of event, most of them several times.
"""

import base64
import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar
from urllib.parse import urlsplit

from app.providers import mac
from app.providers.protocol import Delivery, Provider, Signed
from app.providers.refunds import Payments, RefundNews, Refunds
from app.providers.square.payments import SquarePayments
from app.providers.square.refunds import SquareRefunds, refund_news
from app.saga.model import Json
from app.settings import AmountUnit, Fields, Options, Source

_HEADER = "x-square-hmacsha256-signature"


@dataclass(frozen=True, slots=True)
class SquareOptions(Options):
    """`url`: the notification URL as it was registered."""

    url: str

    def faults(self) -> Iterable[tuple[str, str]]:
        """A URL that none can be registered as."""
        if not is_url(self.url):
            yield "url", 'must be the notification URL as registered, such as "https://shop.example/webhooks/square"'


def is_url(text: str) -> bool:
    """Whether a text is an HTTP URL."""
    try:
        return urlsplit(text).scheme in {"http", "https"} and bool(urlsplit(text).netloc)
    except ValueError:
        return False


class _Square(Provider):
    name = "square"
    default_fields = Fields(
        event_type="type",
        payment_events=frozenset({"payment.created", "payment.updated"}),
        payment_id="data.object.payment.id",
        order_id="data.object.payment.reference_id || data.object.payment.order_id",
        amount="data.object.payment.amount_money.amount",
        amount_unit=AmountUnit.MINOR,
        currency="data.object.payment.amount_money.currency",
        occurred_at="data.object.payment.updated_at",
    )
    options = SquareOptions
    received = "data.object.payment.status && data.object.payment.status == 'COMPLETED'"
    event_id = "event_id"
    refunds: ClassVar[Refunds | None] = SquareRefunds()
    payments: ClassVar[Payments | None] = SquarePayments()

    def secret_fault(self, secret: str) -> str | None:
        """What is wrong with a secret, or None."""
        return mac.text_secret_fault(secret)

    def verify(self, source: Source, headers: Mapping[str, str], body: bytes, now: datetime) -> Delivery:  # noqa: ARG002 - no time is signed
        """Checks the signature. Raises SignatureInvalid."""
        given = mac.header(headers, _HEADER)
        mac.check((_signature(key, source, body) for key in mac.keys(source)), [given])
        return Delivery(None)

    def sign(self, source: Source, body: bytes, now: datetime, delivery_id: str) -> Signed:  # noqa: ARG002 - neither is signed
        """The header. Raises ConfigurationError where the source has no secret."""
        return Signed({_HEADER: _signature(mac.signing_secret(source).encode(), source, body).decode()}, body)

    def refund_news(self, source: Source, event: Json) -> Sequence[RefundNews]:  # noqa: ARG002 - the same for all
        """What an event tells of a refund or a dispute."""
        return refund_news(event)


def _signature(key: bytes, source: Source, body: bytes) -> bytes:
    url = source.options.url.encode() if isinstance(source.options, SquareOptions) else b""
    return base64.b64encode(hmac.digest(key, url + body, hashlib.sha256))


PROVIDER: Provider = _Square()
