"""Adyen's standard webhook: each item of a body holds its own signature, in `additionalData.hmacSignature`.

It is base64 of HMAC-SHA256, by a key of 64 hex digits, over eight fields joined with `:`. So it is the fields that are
signed and not the bytes; what is beside them (`eventDate`, `live`, the rest of `additionalData`) is not signed at all.
Nothing is escaped: a colon can be moved into the field beside it without touching the signature. That is why the account
must be the configured one, and why a payment with a colon in any of the fields is left to a human.

A body may hold several items. One that is forged refuses all of them. Adyen wants `[accepted]` for an answer, and while
it does not get one it sends nothing that comes after.

A refund is asked for by `POST /v72/payments/{id}/refunds` and no more than received; an event tells what became of it.
There is no call that lists refunds or payments.
"""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, ClassVar, cast

from app.errors import MalformedBody, Rejected, SignatureInvalid
from app.providers import mac
from app.providers.amounts import inward, outward
from app.providers.ids import key_in, name_at, segment
from app.providers.json_body import decode
from app.providers.pieces import is_server_error, items, moment, piece, refused, succeeded, text
from app.providers.protocol import Delivery, Provider, Signed
from app.providers.refunds import (
    Answered,
    Question,
    Refund,
    RefundNews,
    Refunds,
    RefundStatus,
    Refusal,
    Verdict,
    Wanted,
)
from app.saga.model import Json
from app.settings import AmountUnit, Fields, Options, Source

_KEY = re.compile(r"[0-9A-Fa-f]{64}")
_ITEM = "notificationItems[0].NotificationRequestItem"
_EXPONENTS: Mapping[str, int] = MappingProxyType({"CLP": 2, "CVE": 0, "IDR": 0, "ISK": 2})

# What an event says of a refund or a dispute, where it has success; without, what it tells of was not done.
_TOLD = MappingProxyType(
    {
        "REFUND": RefundStatus.SUCCEEDED,
        "CANCEL_OR_REFUND": RefundStatus.SUCCEEDED,
        "CANCELLATION": RefundStatus.SUCCEEDED,  # of an authorisation: the money is never taken
        "REFUND_FAILED": RefundStatus.FAILED,
        "REFUNDED_REVERSED": RefundStatus.FAILED,
        "NOTIFICATION_OF_CHARGEBACK": RefundStatus.DISPUTED,
        "CHARGEBACK": RefundStatus.DISPUTED,
        "SECOND_CHARGEBACK": RefundStatus.DISPUTED,  # after one that was reversed
        "CHARGEBACK_REVERSED": RefundStatus.FAILED,
    }
)
_SECOND = "SECOND_CHARGEBACK"  # has the id of the first, which is over for good
_IN_PROGRESS = "704"  # the errorCode of a key whose first request still runs


@dataclass(frozen=True, slots=True)
class AdyenOptions(Options):
    """`merchant_account`: the only one whose items are taken."""

    merchant_account: str

    def faults(self) -> Iterable[tuple[str, str]]:
        """A name that none can have."""
        if not self.merchant_account or ":" in self.merchant_account:
            yield "merchant_account", "must be the code of the merchant account"


class _AdyenRefunds(Refunds):
    """Adyen's refunds. The account is the payment's, whose event was checked to be of the configured one."""

    key_lifetime: ClassVar[timedelta] = timedelta(days=6)  # of at least seven

    def give(self, wanted: Wanted) -> Question:
        """The wish. Raises Rejected where the event tells no account, or Adyen has no such amount."""
        account = text(_only_item(wanted.event), "merchantAccountCode")
        if account is None:
            raise Rejected("the event of the payment does not tell its merchant account")
        value = outward(wanted.amount, wanted.currency, _EXPONENTS)
        body = {
            "merchantAccount": account,
            "amount": {"value": value, "currency": wanted.currency},
            "reference": wanted.key,
        }
        headers = {"Content-Type": "application/json", "Idempotency-Key": wanted.key}
        path = f"/v72/payments/{segment(wanted.payment_id)}/refunds"
        return Question("POST", path, headers, json.dumps(body).encode(), body)

    def given(self, wanted: Wanted, answered: Answered) -> Refund | Refusal | None:
        """A refund that has been received, or a refusal that the table for all agents would read wrongly."""
        if succeeded(answered):
            refund_id = name_at(answered.json, "pspReference")
            if refund_id is None or text(answered.json, "status") != "received":
                return None
            return Refund(refund_id, wanted.amount, wanted.currency, RefundStatus.PENDING, wanted.key)
        code, said = text(answered.json, "errorCode"), text(answered.json, "message")
        transient = is_server_error(answered) or answered.headers.get("transient-error") == "true"
        if code == _IN_PROGRESS or transient:
            return refused(Verdict.UNKNOWN, answered, code, said)
        return None


class _Adyen(Provider):
    name = "adyen"
    default_fields = Fields(
        event_type="eventCode",
        payment_events=frozenset({"AUTHORISATION"}),
        payment_id="originalReference || pspReference",  # of a capture, the payment's
        order_id="merchantReference",
        amount="amount.value",
        amount_unit=AmountUnit.MINOR,
        currency="amount.currency",
        occurred_at="eventDate",
    )
    options = AdyenOptions
    facts = _ITEM
    event_id = f"{_ITEM}.[pspReference, eventCode, to_string(success)] | join('.', @)"
    received = "success && to_string(success) == 'true'"
    mode = "live"
    exponents: ClassVar[Mapping[str, int]] = _EXPONENTS
    acknowledgement = "[accepted]"
    refunds: ClassVar[Refunds | None] = _AdyenRefunds()

    def secret_fault(self, secret: str) -> str | None:
        """What is wrong with a key, or None."""
        return None if _KEY.fullmatch(secret) else "must be the HMAC key: 64 hex digits"

    def verify(self, source: Source, headers: Mapping[str, str], body: bytes, now: datetime) -> Delivery:  # noqa: ARG002 - neither is signed
        """Checks every item's signature and account. Raises SignatureInvalid, MalformedBody."""
        if not source.secrets:
            raise SignatureInvalid("the source has no secret to check a signature with")
        items = _items(decode(body).value)
        if not items:
            raise SignatureInvalid("the body has no notificationItems that could be signed")
        for item in items:
            _check(source, item)
        return Delivery(None)

    def sign(self, source: Source, body: bytes, now: datetime, delivery_id: str) -> Signed:  # noqa: ARG002 - neither is signed
        """The body with every item signed. Raises ConfigurationError, MalformedBody."""
        secret = mac.signing_secret(source)
        envelope = decode(body).value
        items = _items(envelope)
        if not items:
            raise MalformedBody("the body has no notificationItems that could be signed")
        for item in items:
            extra = item.setdefault("additionalData", {})
            if not isinstance(extra, dict):
                raise MalformedBody("additionalData is no object")
            extra["hmacSignature"] = _signature(secret, item).decode()
        return Signed({}, json.dumps(envelope).encode())

    def messages(self, body: bytes) -> Sequence[bytes]:
        """One body for each item. One in which a key comes twice cannot be parted, and is kept whole."""
        decoded = decode(body)
        items = _items(decoded.value)
        if len(items) <= 1 or decoded.fault is not None:
            return (body,)
        live = cast("dict[str, Any]", decoded.value).get("live")
        # Nothing else is taken along: it is not signed, and large, beside many small items, would be kept many times.
        mode = {"live": live} if isinstance(live, str | bool) and len(str(live)) <= len("False") else {}
        return [
            json.dumps({**mode, "notificationItems": [{"NotificationRequestItem": item}]}).encode() for item in items
        ]

    def doubt(self, facts: Json) -> str | None:
        """A colon in a field that is signed: it may have been moved there."""
        if any(":" in field for field in _signed_fields(facts)):
            return "a signed field has a colon, which may have been moved there: the signature does not tell"
        return None

    def refund_news(self, source: Source, event: Json) -> Sequence[RefundNews]:  # noqa: ARG002 - the same for all
        """What an item tells of a refund or a dispute. Where a colon may have been moved, nothing is believed."""
        item = _only_item(event)
        status = _TOLD.get(text(item, "eventCode") or "")
        if status is None or self.doubt(item) is not None:
            return ()
        if _text(piece(item, "success")) != "true":
            status = RefundStatus.FAILED
        payment_id, refund_id = name_at(item, "originalReference"), name_at(item, "pspReference")
        money = inward(piece(item, "amount", "value"), piece(item, "amount", "currency"), _EXPONENTS)
        if payment_id is None or refund_id is None or money is None:
            return ()
        if text(item, "eventCode") == _SECOND:
            refund_id = f"{refund_id}.second"
        key = key_in(piece(item, "merchantReference"))
        return (RefundNews(payment_id, Refund(refund_id, *money, status, key, moment(piece(item, "eventDate")))),)


def _only_item(event: Json) -> Json:
    """The item of a message, which has one."""
    wrapped = items(event, "notificationItems")
    return piece(wrapped[0], "NotificationRequestItem") if len(wrapped) == 1 else None


def _items(envelope: Json) -> list[dict[str, Any]]:
    """The items of a body. Raises SignatureInvalid where one is nothing that could be signed."""
    wrapped = envelope.get("notificationItems") if isinstance(envelope, dict) else None
    if not isinstance(wrapped, list):
        return []
    items = [each.get("NotificationRequestItem") if isinstance(each, dict) else None for each in wrapped]
    if not all(isinstance(item, dict) for item in items):
        raise SignatureInvalid("one of notificationItems has no NotificationRequestItem")
    return cast("list[dict[str, Any]]", items)


def _check(source: Source, item: dict[str, Any]) -> None:
    extra = item.get("additionalData")
    given = extra.get("hmacSignature") if isinstance(extra, dict) else None
    if not isinstance(given, str):
        raise SignatureInvalid("an item has no additionalData.hmacSignature")
    expected = (_signature(secret, item) for secret in source.secrets)
    mac.check(expected, [given.encode("utf-8", "surrogatepass")])
    if item.get("merchantAccountCode") != cast("AdyenOptions", source.options).merchant_account:
        raise SignatureInvalid("an item is of another merchant account than the source's")


def _signed_fields(item: Json) -> list[str]:
    amount = item.get("amount")
    amount = amount if isinstance(amount, dict) else {}
    names = ("pspReference", "originalReference", "merchantAccountCode", "merchantReference")
    values = [*(item.get(name) for name in names), amount.get("value"), amount.get("currency")]
    return [_text(value) for value in (*values, item.get("eventCode"), item.get("success"))]


def _text(value: Json) -> str:
    """A field as it is signed: text as it is, and what is not there as nothing."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _signature(secret: str, item: dict[str, Any]) -> bytes:
    text = ":".join(_signed_fields(item)).encode("utf-8", "surrogatepass")
    return base64.b64encode(hmac.digest(bytes.fromhex(secret), text, hashlib.sha256))


PROVIDER: Provider = _Adyen()
