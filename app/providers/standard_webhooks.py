"""Standard Webhooks, the open scheme of many senders; Svix is the same under other header names.

The signature is HMAC-SHA256 over `{id}.{timestamp}.{body}`, in base64, written as `v1,<base64>`. A header may hold
several, parted by spaces, while the sender changes its secret. Both sides check the time: a delivery that is older or
earlier than the source's tolerance is refused, and a sender signs anew each time it sends again.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache

from app.errors import SignatureInvalid
from app.providers import mac
from app.providers.protocol import Delivery, Provider, Signed
from app.providers.text import storable
from app.settings import AmountUnit, Fields, Source

_SECRET_PREFIX = "whsec_"  # noqa: S105 - what every secret begins with
_NAMES, _NAMES_OF_SVIX = (
    (f"{family}-id", f"{family}-timestamp", f"{family}-signature") for family in ("webhook", "svix")
)


class _StandardWebhooks(Provider):
    name = "standard-webhooks"
    default_fields = Fields(
        event_type="type",
        payment_events=frozenset({"payment.received"}),
        payment_id="data.payment_id",
        order_id="data.order_id",
        amount="data.amount",
        amount_unit=AmountUnit.MINOR,
        currency="data.currency",
        occurred_at="timestamp",
    )

    def secret_fault(self, secret: str) -> str | None:
        """What is wrong with a secret, or None."""
        try:
            return None if _key(secret) else "is empty"
        except ValueError:
            return "must be base64, with or without whsec_ before it"

    def verify(self, source: Source, headers: Mapping[str, str], body: bytes, now: datetime) -> Delivery:
        """Checks id, time and signature. Raises SignatureInvalid."""
        delivery_id, timestamp, signature = _signed_headers(headers)
        mac.check_time(timestamp, source, now)
        if not source.secrets:
            raise SignatureInvalid("the source has no secret to check a signature with")
        given = [item[3:] for item in signature.split(b" ") if item.startswith(b"v1,")]
        if not given:
            raise SignatureInvalid("the signature header has no signature of version v1")
        text = b".".join((delivery_id, timestamp, body))
        mac.check([_signature(secret, text) for secret in source.secrets], given)
        return Delivery(storable(delivery_id.decode("latin-1")))

    def sign(self, source: Source, body: bytes, now: datetime, delivery_id: str) -> Signed:
        """The three `webhook-*` headers. Raises ConfigurationError where the source has no secret."""
        secret = mac.signing_secret(source)
        timestamp = str(int(now.timestamp()))
        text = b".".join((delivery_id.encode(), timestamp.encode(), body))
        signature = "v1," + _signature(secret, text).decode()
        return Signed({"webhook-id": delivery_id, "webhook-timestamp": timestamp, "webhook-signature": signature}, body)


@lru_cache(maxsize=1024)  # the secrets of a configuration; far more than one has
def _key(secret: str) -> bytes:
    text = secret.removeprefix(_SECRET_PREFIX).rstrip("=")
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


@lru_cache(maxsize=1024)  # as above
def _begun(secret: str) -> hmac.HMAC:
    """The signature of nothing yet: what the key alone has to do with it is done once."""
    return hmac.new(_key(secret), digestmod=hashlib.sha256)


def _signature(secret: str, text: bytes) -> bytes:
    signing = _begun(secret).copy()
    signing.update(text)
    return base64.b64encode(signing.digest())


def _signed_headers(headers: Mapping[str, str]) -> tuple[bytes, bytes, bytes]:
    """Id, timestamp and signature, all of one family of names, as the bytes that were sent."""
    is_svix = "svix-signature" in headers and "webhook-signature" not in headers
    id_, timestamp, signature = _NAMES_OF_SVIX if is_svix else _NAMES
    return mac.header(headers, id_), mac.header(headers, timestamp), mac.header(headers, signature)


PROVIDER: Provider = _StandardWebhooks()
