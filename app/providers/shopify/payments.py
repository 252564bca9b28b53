"""Shopify's paid orders as its API lists them, put into the form of the webhook `orders/paid`, with their refunds."""

import json
from datetime import UTC, datetime
from typing import Any

from app.providers.pieces import items, piece, text
from app.providers.refunds import Answered, PaidPage, Payments, Question
from app.providers.shopify.admin import asked, error_codes, money, number
from app.saga.model import Json
from app.settings import Source

# What the key is called by which an order that was read says its event's id; no order that is told has one.
EVENT_ID = "makegood_event_id"
_PAGE = 20  # the API counts what a query may cost

_MONEY = "{ shopMoney { amount currencyCode } presentmentMoney { amount currencyCode } }"
_SEARCH = f"""query Paid($query: String!, $after: String) {{
  orders(first: {_PAGE}, after: $after, query: $query, sortKey: PROCESSED_AT) {{
    pageInfo {{ hasNextPage endCursor }}
    nodes {{
      id name currencyCode displayFinancialStatus processedAt test note paymentGatewayNames
      customAttributes {{ key value }} totalPriceSet {_MONEY} totalRefundedSet {_MONEY}
      refunds(first: 5) {{ id note createdAt totalRefundedSet {_MONEY} }}
    }}
  }}
}}"""
_PAID = {"PAID", "PARTIALLY_REFUNDED", "REFUNDED"}


class ShopifyPayments(Payments):
    """How the paid orders of a shop are read."""

    def search(self, source: Source, since: datetime, until: datetime, page: str | None) -> Question:  # noqa: ARG002 - the same for all
        """A page of the orders; `page` is the cursor behind the one before."""
        begin, end = (at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for at in (since, until))
        paid = " OR ".join(f"financial_status:{status.lower()}" for status in sorted(_PAID))
        query = f"processed_at:>='{begin}' AND processed_at:<='{end}' AND ({paid})"
        return asked(_SEARCH, {"query": query, "after": page})

    def found(self, source: Source, answered: Answered) -> PaidPage | None:  # noqa: ARG002 - the same for all
        """The paid orders of a page."""
        orders = piece(answered.json, "data", "orders")
        listed, info = piece(orders, "nodes"), piece(orders, "pageInfo")
        more = piece(info, "hasNextPage")
        if error_codes(answered.json) or not isinstance(listed, list) or not isinstance(more, bool):
            return None
        further = text(info, "endCursor") if more else None
        if more and further is None:
            return None
        paid = [each for each in listed if text(each, "displayFinancialStatus") in _PAID and _id(each) is not None]
        back = {str(_id(each)): money(piece(each, "totalRefundedSet"), "shopMoney") or (0, "") for each in paid}
        return PaidPage(tuple(map(_body, paid)), {name: amount for name, (amount, _) in back.items()}, further)


def _id(order: Json) -> int | None:
    found = number(order, "id") or ""
    return int(found) if found.isascii() and found.isdigit() else None


def _body(order: dict[str, Any]) -> bytes:
    """An order as `orders/paid` tells of it, as far as it was asked for."""
    total = piece(order, "totalPriceSet")
    told = {
        EVENT_ID: f"paid-{_id(order)}",
        "topic": "orders/paid",
        "id": _id(order),
        "admin_graphql_api_id": order["id"],
        "name": order.get("name"),
        "currency": order.get("currencyCode"),
        "total_price": piece(total, "shopMoney", "amount"),
        "total_price_set": {
            "shop_money": _told(total, "shopMoney"),
            "presentment_money": _told(total, "presentmentMoney"),
        },
        "financial_status": "paid",
        "processed_at": order.get("processedAt"),
        "test": order.get("test"),
        "note": order.get("note"),
        "payment_gateway_names": order.get("paymentGatewayNames"),
        "note_attributes": [
            {"name": piece(each, "key"), "value": piece(each, "value")} for each in items(order, "customAttributes")
        ],
        "refunds": [_refund(order, each) for each in items(order, "refunds")],
    }
    return json.dumps(told).encode()


def _told(amounts: Json, side: str) -> Json:
    return {"amount": piece(amounts, side, "amount"), "currency_code": piece(amounts, side, "currencyCode")}


def _refund(order: dict[str, Any], refund: Json) -> Json:
    """A refund as the body of an order has it; its transactions, which were not asked for, as the one sum of them."""
    sum_ = piece(refund, "totalRefundedSet", "shopMoney")
    made = {
        "kind": "refund",
        "status": "success",
        "amount": piece(sum_, "amount"),
        "currency": piece(sum_, "currencyCode"),
    }
    return {
        "id": int(number(refund, "id") or 0),
        "order_id": _id(order),
        "created_at": piece(refund, "createdAt"),
        "note": piece(refund, "note"),
        "transactions": [made],
    }
