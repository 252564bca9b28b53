"""Mollie's next-generation webhooks: `X-Mollie-Signature: sha256=<hex>`, HMAC-SHA256 over the body; the prefix may be absent.

The event holds the payment, or, as a simple event, no more than its id: that one says no amount, and is kept as
unprocessable. Where the body is the payment itself, its resource and status are the type of the event. The classic
webhook, a form with an id, is not signed at all: the payment that it names is read from the API of the source's agent, and is
what counts; without one it is refused.
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar

from app.errors import MalformedBody, Unavailable
from app.providers import mac
from app.providers.json_body import decode
from app.providers.mollie.classic import classic_body, classic_payment_id, classic_question
from app.providers.mollie.payments import MolliePayments
from app.providers.mollie.refunds import MollieRefunds, refund_news
from app.providers.protocol import Delivery, Provider, Signed, Verified
from app.providers.refunds import Answered, Payments, Question, RefundNews, Refunds
from app.saga.model import Json
from app.settings import AmountUnit, Fields, Source

_HEADER = "x-mollie-signature"
_PREFIX = b"sha256="
_ENTITY = "_embedded.entity"


class _Mollie(Provider):
    name = "mollie"
    default_fields = Fields(
        event_type="type || join('.', [resource, status])",
        payment_events=frozenset({"payment.paid"}),
        payment_id="entityId || id",
        order_id=f"{_ENTITY}.metadata.order_id || metadata.order_id",
        amount=f"{_ENTITY}.amount.value || amount.value",
        amount_unit=AmountUnit.MAJOR,
        currency=f"{_ENTITY}.amount.currency || amount.currency",
        occurred_at=f"{_ENTITY}.paidAt || paidAt || createdAt",
    )
    mode = f"{_ENTITY}.mode || mode"
    event_id = "resource == 'event' && id || null"  # a payment's own id is no event's
    refunds: ClassVar[Refunds | None] = MollieRefunds()
    payments: ClassVar[Payments | None] = MolliePayments()

    def secret_fault(self, secret: str) -> str | None:
        """What is wrong with a secret, or None."""
        return mac.text_secret_fault(secret)

    def verify(self, source: Source, headers: Mapping[str, str], body: bytes, now: datetime) -> Delivery:  # noqa: ARG002 - no time is signed
        """Checks the signature. Raises SignatureInvalid."""
        given = mac.header(headers, _HEADER).removeprefix(_PREFIX)
        mac.check((_signature(key, body) for key in mac.keys(source)), [given])
        return Delivery(None)

    def wanted(self, source: Source, headers: Mapping[str, str], body: bytes, now: datetime) -> Question | None:  # noqa: ARG002 - no time is signed
        """The payment that a classic webhook names, where the source has an agent to read it from."""
        if source.api is None or _HEADER in headers:
            return None
        payment_id = classic_payment_id(body)
        return None if payment_id is None else classic_question(payment_id)

    def verify_with(
        self,
        source: Source,  # noqa: ARG002 - it was read from its own agent
        headers: Mapping[str, str],  # noqa: ARG002 - nothing is signed
        body: bytes,
        now: datetime,  # noqa: ARG002 - no time is signed
        fetched: bytes,
    ) -> Verified:
        """The payment, in the place of the form that names it. Raises Unavailable where something else was answered."""
        try:
            read = classic_body(classic_payment_id(body) or "", Answered(200, json=decode(fetched).value))
        except MalformedBody:
            read = None
        if read is None:
            raise Unavailable("the API answered with something else than the payment")
        return Verified(Delivery(None), read)

    def sign(self, source: Source, body: bytes, now: datetime, delivery_id: str) -> Signed:  # noqa: ARG002 - the body has it
        """The header. Raises ConfigurationError where the source has no secret."""
        signature = _PREFIX + _signature(mac.signing_secret(source).encode(), body)
        return Signed({"X-Mollie-Signature": signature.decode()}, body)

    def refund_news(self, source: Source, event: Json) -> Sequence[RefundNews]:  # noqa: ARG002 - the same for all
        """What an event tells of a refund or a chargeback; a payment that was read, of all of them."""
        return refund_news(event)


def _signature(key: bytes, body: bytes) -> bytes:
    return hmac.digest(key, body, hashlib.sha256).hex().encode()


PROVIDER: Provider = _Mollie()
