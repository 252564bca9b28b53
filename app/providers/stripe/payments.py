"""Stripe's payments, for those that no webhook has told of: the charges that were made, then the events of the time.

A charge of the time tells of itself, with its payment intent, and how much of it went back. Its events tell of payments
that began before the time and were paid in it, such as a direct debit; Stripe keeps them for 30 days.
"""

import json
from datetime import datetime
from urllib.parse import urlencode

from app.providers.amounts import inward
from app.providers.pieces import items, piece, text
from app.providers.refunds import Answered, PaidPage, Payments, Question
from app.providers.stripe.refunds import EXPONENTS
from app.saga.model import Json
from app.settings import Source

_CHARGES, _EVENTS = "/v1/charges", "/v1/events"

_PAGE = 50

_BY_INTENT, _BY_CHARGE = "payment_intent.succeeded", "charge.succeeded"


class StripePayments(Payments):
    """How payments are read from Stripe's API. A page is `<path> <last item>`."""

    def search(self, source: Source, since: datetime, until: datetime, page: str | None) -> Question:
        """A page of charges; when they are all read, of events of those types that mean a payment to the source."""
        path, _, after = (page or _CHARGES).partition(" ")
        query = [
            ("created[gte]", str(int(since.timestamp()))),
            ("created[lt]", str(int(until.timestamp()))),
            ("limit", str(_PAGE)),
        ]
        if path == _CHARGES:
            query.append(("expand[0]", "data.payment_intent"))
        else:
            kinds = sorted(source.fields.payment_events)
            query.extend((f"types[{number}]", kind) for number, kind in enumerate(kinds))
        if after:
            query.append(("starting_after", after))
        return Question("GET", f"{path}?{urlencode(query)}")

    def found(self, source: Source, answered: Answered) -> PaidPage | None:
        """The payments of a page; None where it is no page of either list."""
        path, listed, more = (piece(answered.json, name) for name in ("url", "data", "has_more"))
        if path not in {_CHARGES, _EVENTS} or not isinstance(listed, list) or not isinstance(more, bool):
            return None
        last = text(listed[-1], "id") if listed else None
        if more and last is None:
            return None
        next_page = f"{path} {last}" if more else None
        if path == _EVENTS:
            return PaidPage(tuple(_written(event) for event in listed), next_page=next_page)
        paid = [charge for charge in items(listed) if _is_paid(charge)]
        bodies = (_event(source, charge) for charge in paid)
        refunded = dict(pair for charge in paid if (pair := _refunded(charge)) is not None)
        doubtful = {id_: why for charge in paid if (id_ := _payment_id(charge)) and (why := _doubt(charge))}
        readable = tuple(body for body in bodies if body is not None)
        return PaidPage(readable, refunded, next_page or _EVENTS, doubtful)


def _is_paid(charge: Json) -> bool:
    return piece(charge, "status") == "succeeded" and piece(charge, "captured") is True


def _payment_id(charge: Json) -> str | None:
    return text(charge, "payment_intent", "id") or text(charge, "id")


def _doubt(charge: Json) -> str | None:
    """Why the money of a charge may not stay. A dispute that was won leaves its mark as well: a human can tell them apart."""
    if piece(charge, "disputed") not in {None, False}:
        return "the payer disputes it, or did"
    return "what was given back of it cannot be read" if _refunded(charge) is None else None


def _refunded(charge: Json) -> tuple[str, int] | None:
    payment_id = _payment_id(charge)
    amount, currency = piece(charge, "amount_refunded"), piece(charge, "currency")
    money = (0, "") if amount == 0 else inward(amount, currency, EXPONENTS)
    return None if payment_id is None or money is None else (payment_id, money[0])


def _event(source: Source, charge: Json) -> bytes | None:
    """The event that told of a charge, or would have; None where the source takes other events alone."""
    kinds, intent = source.fields.payment_events, piece(charge, "payment_intent")
    if _BY_INTENT in kinds and isinstance(intent, dict):
        kind, told = _BY_INTENT, intent
    elif _BY_CHARGE in kinds and isinstance(charge, dict):
        kind, told = _BY_CHARGE, {**charge, "payment_intent": piece(intent, "id")}
    else:
        return None
    event: Json = {
        "id": f"listed_{text(told, 'id')}",
        "object": "event",
        "type": kind,
        "created": piece(charge, "created"),
        "livemode": piece(charge, "livemode"),
        "data": {"object": told},
    }
    return _written(event)


def _written(event: Json) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode()
