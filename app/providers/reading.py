"""A verified body and what it means: a payment, something else, or a thing that a human must look at."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache

import jmespath

from app.providers import Delivery, Provider, provider
from app.providers.currencies import EXPONENTS
from app.providers.json_body import decode
from app.providers.pieces import moment
from app.providers.refunds import RefundNews
from app.providers.text import id_fault, legible, storable
from app.saga.model import Json
from app.saga.money import MAXIMUM_AMOUNT, minor_units, rescaled
from app.settings import AmountUnit, Mode, Source

LONGEST_VALUE = 60  # characters of a value that a detail repeats

# What an amount must be.
_MINOR = f"an integer from 1 to {MAXIMUM_AMOUNT}"
_DECIMAL = f"a decimal string of more than 0, exact in {{decimals}} decimals, and at most {MAXIMUM_AMOUNT} minor units"

_DOTTED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")
# What an expression can raise over a value that it was not written for; JMESPathError is a ValueError.
_EXPRESSION_ERRORS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


@dataclass(slots=True)  # changed by nobody; frozen, it would take twice as long to make
class Payment:
    """A payment was received. `amount` is in minor units, `currency` in upper case; `event` is all that was told."""

    external_id: str
    order_id: str
    amount: int
    currency: str
    occurred_at: datetime | None
    event_type: str
    delivery_id: str | None
    event: Json = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Ignored:
    """An event that is no payment."""

    event_type: str
    delivery_id: str | None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An event that cannot be read as a payment, nor as another one. `detail` says all that is wrong with it."""

    detail: str
    event_type: str | None
    delivery_id: str | None


Reading = Payment | Ignored | Unreadable


def parse(body: bytes) -> Json:
    """The JSON of a body; numbers out of range as text. Raises MalformedBody."""
    return decode(body).value


def read(source: Source, delivery: Delivery, body: bytes) -> Reading:
    """What a verified body means to its source. Raises MalformedBody where it is not JSON."""
    decoded = decode(body)
    event, teller = decoded.value, provider(source.provider)
    if not isinstance(event, dict):
        return Unreadable("the body is no JSON object", None, delivery.delivery_id)
    delivery_id = delivery.delivery_id or _delivery_id(event, teller.event_id_of(source))
    if decoded.fault is not None:
        return Unreadable(decoded.fault, None, delivery_id)
    facts = event if teller.facts is None else _value(event, teller.facts)
    event_type = _value(facts, source.fields.event_type)
    if event_type is None:
        event_type = delivery.event_type
    if not isinstance(event_type, str) or not event_type:
        detail = f"event_type ({source.fields.event_type}) {_must_be('text', event_type)}"
        return Unreadable(detail, None, delivery_id)
    is_payment = event_type in source.fields.payment_events
    received = True if teller.received is None else _value(facts, teller.received)
    if not is_payment or received is False or not _is_of(source.mode, event, teller):
        return Ignored(legible(event_type), delivery_id)
    doubt = teller.doubt(facts) if received is True else f"nothing tells whether it was received ({teller.received})"
    if doubt is not None:
        return Unreadable(doubt, legible(event_type), delivery_id)
    return _read_payment(source, event, facts, legible(event_type), delivery_id)


def tells_of_refunds(source: Source) -> bool:
    """Whether events of the source may tell of refunds."""
    return _tells_of_refunds(source.provider)


@cache
def _tells_of_refunds(name: str) -> bool:
    return type(provider(name)).refund_news is not Provider.refund_news


def hints(source: Source, body: bytes) -> tuple[str | None, datetime | None]:
    """The payment's id and time in a body that cannot be read otherwise, where they are told. Raises MalformedBody."""
    event, teller = decode(body).value, provider(source.provider)
    facts = event if teller.facts is None else _value(event, teller.facts)
    payment_id = _id(facts, "payment_id", source.fields.payment_id, [])
    return payment_id, moment(_value(facts, source.fields.occurred_at))


def refund_news(source: Source, body: bytes) -> Sequence[RefundNews]:
    """What a verified body tells of refunds; what cannot be one is left out. Raises MalformedBody where it is not JSON.

    A provider that never tells of any is not asked.
    """
    if not tells_of_refunds(source):
        return ()
    teller = provider(source.provider)
    decoded = decode(body)
    if decoded.fault is not None or not isinstance(decoded.value, dict):
        return ()
    if not _is_of(source.mode, decoded.value, teller):
        return ()
    return [news for news in teller.refund_news(source, decoded.value) if _can_be_kept(news)]


def _can_be_kept(news: RefundNews) -> bool:
    refund = news.refund
    texts = [text for text in (news.payment_id, refund.id, refund.key) if text is not None]
    return (
        all(id_fault(text) is None for text in texts)
        and 1 <= refund.amount <= MAXIMUM_AMOUNT
        and refund.currency in EXPONENTS
    )


def _delivery_id(event: Json, expression: str | None) -> str | None:
    """The delivery's id in the body: a hint, so that what cannot be one is let go."""
    value = None if expression is None else _value(event, expression)
    if type(value) is int:
        value = str(value)
    return storable(value) if isinstance(value, str) else None


def _is_of(mode: Mode, event: Json, teller: Provider) -> bool:
    """Whether an event is of a mode; one that does not say its own is of both."""
    if teller.mode is None:
        return True
    said = _value(event, teller.mode)
    other = (False, "false", "test") if mode is Mode.LIVE else (True, "true", "live")
    return not any(type(said) is type(word) and said == word for word in other)


def _read_payment(
    source: Source, event: Json, facts: Json, event_type: str, delivery_id: str | None
) -> Payment | Unreadable:
    fields = source.fields
    faults: list[str] = []
    external_id = _id(facts, "payment_id", fields.payment_id, faults)
    order_id = _id(facts, "order_id", fields.order_id, faults)
    currency = _currency(facts, fields.currency, faults)
    amount = _amount(facts, source, currency, faults)
    if external_id is None or order_id is None or currency is None or amount is None:
        return Unreadable("; ".join(faults), event_type, delivery_id)
    occurred_at = moment(_value(facts, fields.occurred_at))
    return Payment(external_id, order_id, amount, currency, occurred_at, event_type, delivery_id, event)


@cache  # one entry an expression of the configuration
def _finder(expression: str) -> Callable[[Json], Json]:
    """What an expression finds. Dotted names, which is what most are, are walked without JMESPath: the same, sooner."""
    if _DOTTED.fullmatch(expression) is None:
        search = jmespath.compile(expression).search

        def evaluate(value: Json) -> Json:
            try:
                return search(value)
            except _EXPRESSION_ERRORS:
                return _FAILED

        return evaluate
    keys = expression.split(".")

    def walk(value: Json) -> Json:
        for key in keys:
            if not isinstance(value, dict):
                return None
            value = value.get(key)
        return value

    return walk


class _Failed:
    """Stands for the value of an expression that failed over this body."""


_FAILED = _Failed()


def _value(event: Json, expression: str) -> Json:
    return _finder(expression)(event)


def _must_be(what: str, value: Json) -> str:
    if value is None:
        return "is missing"
    if value is _FAILED:
        return "cannot be evaluated over this body"
    return f"must be {what}, not {legible(json.dumps(value, ensure_ascii=False, default=str), LONGEST_VALUE)}"


def _id(event: Json, name: str, expression: str, faults: list[str]) -> str | None:
    value = _value(event, expression)
    if type(value) is int:  # a boolean is none
        value = str(value)
    fault = id_fault(value) if isinstance(value, str) else _must_be("text or an integer", value)
    if fault is not None:
        faults.append(f"{name} ({expression}) {fault}")
        return None
    return str(value)


def _currency(event: Json, expression: str, faults: list[str]) -> str | None:
    value = _value(event, expression)
    # ASCII alone: the capital of some other letters is an ASCII one.
    if isinstance(value, str) and value.isascii():
        code = value.upper()
        if code in EXPONENTS:
            return code
    faults.append(f"currency ({expression}) {_must_be('a currency of ISO 4217', value)}")
    return None


def _amount(facts: Json, source: Source, currency: str | None, faults: list[str]) -> int | None:
    """The amount in the minor units of ISO 4217, from what this provider counts in."""
    fields = source.fields
    value = _value(facts, fields.amount)
    kept = EXPONENTS[currency] if currency is not None else None
    sent = provider(source.provider).exponents.get(currency or "", kept)
    if fields.amount_unit is AmountUnit.MINOR:
        amount = value if type(value) is int else None
    elif sent is None:
        faults.append(f"amount ({fields.amount}) has no meaning without a currency that has a minor unit")
        return None
    else:
        amount = minor_units(value, sent) if isinstance(value, str) else None
    whole = ""
    if sent is not None and kept is not None and sent != kept:
        amount = None if amount is None else rescaled(amount, sent, kept)
        whole = f", and a whole number of {currency} in {kept} decimals"
    if amount is not None and 1 <= amount <= MAXIMUM_AMOUNT:
        return amount
    what = _MINOR if fields.amount_unit is AmountUnit.MINOR else _DECIMAL.format(decimals=sent)
    faults.append(f"amount ({fields.amount}) {_must_be(what + whole, value)}")
    return None
