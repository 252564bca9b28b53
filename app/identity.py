"""The ids that anyone can compute: of a payment's operation, and of an event by what it says."""

import hashlib
from uuid import NAMESPACE_URL, UUID

from app.ids import named
from app.providers.reading import Payment, Unreadable
from app.saga.model import Json, compact_json
from app.settings import Source


def operation_id(identity: str, external_id: str) -> UUID:
    """The id of a payment's operation: anyone can compute it, and the primary key is the idempotency key.

    A UUIDv5 (RFC 9562) in the URL namespace of `makegood:` and the compact JSON array of both arguments.

    Args:
        identity: of the source.
        external_id: the provider's id of the payment.
    """
    return named(NAMESPACE_URL, "makegood:" + compact_json([identity, external_id]))


def event_id(identity: str, *meaning: Json) -> UUID:
    """The id of an event, made from what it says: a redelivery is the same row, however its bytes differ."""
    return named(NAMESPACE_URL, "makegood:event:" + compact_json([identity, *meaning]))


def payment_event_id(source: Source, payment: Payment) -> UUID:
    """The id of the event that tells of a payment."""
    said = payment.external_id, payment.order_id, payment.amount, payment.currency
    return event_id(source.identity, "payment", payment.delivery_id, *said)


def unprocessable_id(source: Source, reading: Unreadable, body: bytes) -> UUID:
    """The id of the event as which a body that cannot be read is kept."""
    return event_id(source.identity, "unprocessable", reading.delivery_id, digest(body))


def digest(body: bytes) -> str:
    """What stands for a body in an id."""
    return hashlib.sha256(body).hexdigest()
