"""Shopify's refunds: the mutation `refundCreate` under `@idempotent`, whose keys are known for 24 h.

A refund names the transactions that it gives back, which no webhook tells: they are read with the refunds of the order,
and are the wish's basis. Our key is in the refund's note, since a refund has no field for its asker.

An order may be paid in another currency than the shop's. All that is left of it can be given back exactly, and a part of
what was told in the payer's currency; a part of what was told in the shop's cannot, and is left to a human.
"""

import re
from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any, ClassVar

from app.errors import Rejected
from app.providers.decimals import decimal_text
from app.providers.pieces import is_server_error, items, moment, piece, refused, succeeded, text
from app.providers.refunds import (
    Answered,
    Listed,
    Question,
    Refund,
    Refunds,
    RefundStatus,
    Refusal,
    Verdict,
    Wanted,
)
from app.providers.shopify.admin import asked, error_codes, money, number, order_gid
from app.providers.shopify.news import key_of, note_of
from app.saga.model import Json

# The API counts what a query may cost. These lists have no pages: one that is full is not known to its end, and is read as
# nothing.
_MOST_TRANSACTIONS = 50
_MOST_REFUNDS = 40

_MONEY = "{ shopMoney { amount currencyCode } presentmentMoney { amount currencyCode } }"
_REFUND = f"id note createdAt transactions(first: 5) {{ nodes {{ kind status amountSet {_MONEY} }} }}"
_SEARCH = f"""query Refunds($id: ID!) {{ order(id: $id) {{
  id currencyCode presentmentCurrencyCode
  transactions(first: {_MOST_TRANSACTIONS}) {{ id kind status gateway amountSet {_MONEY} parentTransaction {{ id }} }}
  refunds(first: {_MOST_REFUNDS}) {{ {_REFUND} }}
}} }}"""
_GIVE = f"""mutation Refund($input: RefundInput!, $key: String!) {{ refundCreate(input: $input) @idempotent(key: $key) {{
  refund {{ {_REFUND} }}
  userErrors {{ field message }}
}} }}"""

_STATUS = MappingProxyType(
    {"SUCCESS": RefundStatus.SUCCEEDED, "FAILURE": RefundStatus.FAILED, "ERROR": RefundStatus.FAILED}
)
_TAKEN = {"SALE", "CAPTURE"}

_REFUSALS = {"INVALID", "ACCESS_DENIED", "SHOP_INACTIVE", "MAX_COST_EXCEEDED", "BAD_REQUEST"}
_THROTTLED = "THROTTLED"
# Errors of a mutation have words and no code.
_RUNNING = re.compile(r"in progress|CONCURRENT_REQUEST", re.IGNORECASE)
_TO_BE_LOOKED_AT = re.compile(
    r"idempotency|more than|greater than|exceed|already|available to refund|over.?refund", re.IGNORECASE
)


class ShopifyRefunds(Refunds):
    """The refund protocol of Shopify."""

    key_lifetime: ClassVar[timedelta] = timedelta(hours=23)  # of 24

    def search(self, wanted: Wanted, page: str | None) -> Question:  # noqa: ARG002 - there is one
        """The order with its transactions and refunds."""
        return asked(_SEARCH, {"id": order_gid(wanted.payment_id)})

    def found(self, wanted: Wanted, answered: Answered) -> Listed | None:
        """The refunds of an order, and as basis what can be given back of each of its payments."""
        order = piece(answered.json, "data", "order")
        transactions, refunds = piece(order, "transactions"), piece(order, "refunds")
        if answered.json is None or error_codes(answered.json) or not _is_all(transactions, _MOST_TRANSACTIONS):
            return None
        side = _side(order, wanted.currency)
        if side is None or not _is_all(refunds, _MOST_REFUNDS):
            return None
        taken = [each for each in transactions if text(each, "kind") in _TAKEN and text(each, "status") == "SUCCESS"]
        paid = [money(each.get("amountSet"), side) for each in taken]
        if not paid or None in paid:
            return None
        paid_in_all = sum(amount[0] for amount in paid if amount is not None)
        basis = [_left(each, transactions, side) for each in taken]
        made = [_refund(each, wanted, side) for each in refunds]
        return Listed(tuple(each for each in made if each is not None), paid_in_all, basis=basis)

    def give(self, wanted: Wanted) -> Question:
        """The wish. Raises Rejected where it is not known what the order was paid by, or the amount cannot be given so."""
        if not wanted.basis:
            raise Rejected("nothing tells by which transaction the order was paid")
        order_id = order_gid(wanted.payment_id)
        made = {
            "orderId": order_id,
            "note": note_of(wanted.key),
            "currency": wanted.basis[0]["currency"],
            "transactions": [{"orderId": order_id, "kind": "REFUND", **part} for part in _shared_out(wanted)],
        }
        return asked(_GIVE, {"input": made, "key": wanted.key})

    def given(self, wanted: Wanted, answered: Answered) -> Refund | Refusal | None:
        """The refund, or what 200 means where it holds none."""
        if is_server_error(answered):
            return refused(Verdict.UNKNOWN, answered)
        if not succeeded(answered):
            return None
        made = piece(answered.json, "data", "refundCreate")
        side = "shopMoney"
        for each in items(made, "refund", "transactions", "nodes"):
            if text(each, "amountSet", "presentmentMoney", "currencyCode") == wanted.currency:
                side = "presentmentMoney"
        refund = _refund(piece(made, "refund"), wanted, side)
        if refund is not None:
            return refund
        said = [text(each, "message") or "" for each in items(made, "userErrors")]
        codes = error_codes(answered.json)
        if said:
            return refused(_verdict(" ".join(said)), answered, *said)
        if not codes:
            return None
        words = [text(each, "message") for each in items(answered.json, "errors")]
        if _THROTTLED in codes:
            return refused(Verdict.UNAVAILABLE, answered, *codes)
        is_final = all(code in _REFUSALS for code in codes) and made is None
        return refused(Verdict.REJECTED if is_final else Verdict.UNKNOWN, answered, *codes, *words)


def _verdict(said: str) -> Verdict:
    if _RUNNING.search(said):
        return Verdict.UNKNOWN
    return Verdict.LOOK_AGAIN if _TO_BE_LOOKED_AT.search(said) else Verdict.REJECTED


def _is_all(listed: Json, most: int) -> bool:
    """Whether it is a list of objects, and known to its end."""
    return isinstance(listed, list) and len(listed) < most and all(isinstance(each, dict) for each in listed)


def _side(order: Json, currency: str) -> str | None:
    """Which of the two amounts of everything is in a currency."""
    if text(order, "presentmentCurrencyCode") == currency:
        return "presentmentMoney"
    return "shopMoney" if text(order, "currencyCode") == currency else None


def _left(taken: Mapping[str, Any], transactions: list[dict[str, Any]], side: str) -> dict[str, Any]:
    """What can still be given back of one payment, and how that is written in the payer's currency."""
    back = [
        each
        for each in transactions
        if text(each, "kind") == "REFUND"
        and text(each, "parentTransaction", "id") == taken["id"]
        and _STATUS.get(text(each, "status") or "") is not RefundStatus.FAILED
    ]
    presented = _sum([taken], "presentmentMoney") - _sum(back, "presentmentMoney")
    currency = text(taken, "amountSet", "presentmentMoney", "currencyCode") or ""
    return {
        "parent": taken["id"],
        "gateway": taken.get("gateway"),
        "left": _sum([taken], side) - _sum(back, side),
        "presented": decimal_text(max(presented, 0), currency, {}),
        "currency": currency,
    }


def _sum(transactions: list[Any], side: str) -> int:
    read = (money(piece(each, "amountSet"), side) for each in transactions)
    return sum(amount[0] for amount in read if amount is not None)


def _shared_out(wanted: Wanted) -> list[dict[str, Any]]:
    """The amount over the payments of the order, in their order; all that is left of one as it was written."""
    wanting, parts = wanted.amount, []
    for each in wanted.basis:
        amount = min(each["left"], wanting)
        if amount > 0:
            written = each["presented"]
            if amount != each["left"]:
                if each["currency"] != wanted.currency:
                    raise Rejected("a part of what was paid in another currency cannot be given back exactly")
                written = decimal_text(amount, wanted.currency, {})
            parts.append({"parentId": each["parent"], "gateway": each["gateway"], "amount": written})
            wanting -= amount
    if wanting:
        raise Rejected("more is to be given back than is left of the order's payments")
    return parts


def _refund(told: Json, wanted: Wanted, side: str) -> Refund | None:
    """A refund; None where it gave back no money: goods were taken back, or less was charged."""
    refund_id = number(told, "id")
    key = key_of(piece(told, "note"))
    made = [each for each in items(told, "transactions", "nodes") if text(each, "kind") == "REFUND"]
    statuses = {_STATUS.get(text(each, "status") or "", RefundStatus.PENDING) for each in made}
    standing = [each for each in made if _STATUS.get(text(each, "status") or "") is not RefundStatus.FAILED]
    amount = _sum(standing or made, side)
    if key == wanted.key and not made:  # it has been taken down, and its transactions come
        amount, statuses = wanted.amount, {RefundStatus.PENDING}
    if refund_id is None or amount < 1:
        return None
    return Refund(refund_id, amount, wanted.currency, _worst(statuses), key, moment(piece(told, "createdAt")))


def _worst(statuses: set[RefundStatus]) -> RefundStatus:
    """The status of several transactions: of those that stand, the one that is least certain."""
    for status in (RefundStatus.PENDING, RefundStatus.SUCCEEDED):
        if status in statuses:
            return status
    return RefundStatus.FAILED
