"""Shopify's Admin API: GraphQL over one path, 200 for most of what goes wrong, ids with a prefix, amounts in two currencies."""

import json
from collections.abc import Mapping
from typing import Any

from app.providers.decimals import decimal_amount
from app.providers.pieces import items, piece, text
from app.providers.refunds import Question
from app.providers.text import storable
from app.saga.model import Json

# The first version in which a refund must have a key. Shopify answers a version that it has dropped with the oldest it has.
PATH = "/admin/api/2026-04/graphql.json"

_ORDER = "gid://shopify/Order/"


def asked(document: str, variables: Mapping[str, Any]) -> Question:
    """A query or mutation; what is put on record are its variables."""
    content = json.dumps({"query": document, "variables": variables}).encode()
    return Question("POST", PATH, {"Content-Type": "application/json"}, content, dict(variables))


def order_gid(payment_id: str) -> str:
    """What the API calls an order that webhooks call by its number."""
    return payment_id if payment_id.startswith(_ORDER) else f"{_ORDER}{payment_id}"


def number(value: Json, *path: str) -> str | None:
    """The number at the end of an id of the API, by which webhooks know the same thing."""
    return storable((text(value, *path) or "").rpartition("/")[2])


def money(value: Json, side: str) -> tuple[int, str] | None:
    """One side of an amount, `shopMoney` or `presentmentMoney`, as (ISO minor units, currency); None where it is nothing."""
    return decimal_amount(piece(value, side, "amount"), piece(value, side, "currencyCode"), {})


def error_codes(answer: Json) -> list[str]:
    """The codes of what went wrong with a whole request; one without a code is a document that the API does not take."""
    told = [each for each in items(answer, "errors") if text(each, "message") is not None]
    return [text(each, "extensions", "code") or "INVALID" for each in told]
