"""What Shopify's webhooks tell of refunds: the topics `refunds/create`, `disputes/*`, and orders, which hold their refunds.

The topic stands in a header alone, so that a body is known by its shape. What is told later of a refund that was pending,
no topic tells: it is asked for again.
"""

import re
from collections.abc import Sequence

from app.providers.decimals import decimal_amount
from app.providers.ids import key_in, name_at
from app.providers.pieces import items, moment, piece, text
from app.providers.refunds import KEY_FIELD, Refund, RefundNews, RefundStatus
from app.saga.model import Json

_NOTED = re.compile(rf"{KEY_FIELD} ([0-9a-f-]{{36}})")
_CHARGEBACK = "chargeback"  # the other type is an inquiry: the payer's bank asks, and takes nothing
_OVER = {"won", "charge_refunded"}  # `charge_refunded`: the merchant gave it back, and that is told as a refund


def note_of(key: str) -> str:
    """A refund's note with our key."""
    return f"{KEY_FIELD} {key}"


def key_of(note: Json) -> str | None:
    """Our key in a refund's note."""
    noted = _NOTED.search(note) if isinstance(note, str) else None
    return key_in(noted[1]) if noted else None


def refund_news(event: Json) -> Sequence[RefundNews]:
    """What a body tells of refunds or a dispute."""
    order_id = name_at(event, "order_id")
    if order_id is None:
        # An order, which is the payment itself.
        return _news(name_at(event, "id"), [_refund(each) for each in items(event, "refunds")])
    if text(event, "type") == _CHARGEBACK:
        return _news(order_id, [_dispute(event)])
    return _news(order_id, [_refund(event)])


def _news(payment_id: str | None, refunds: list[Refund | None]) -> Sequence[RefundNews]:
    return [RefundNews(payment_id, each) for each in refunds if payment_id is not None and each is not None]


def _refund(told: Json) -> Refund | None:
    """The money that a refund gave back, in the currency that its transactions have."""
    refund_id = name_at(told, "id")
    made = [each for each in items(told, "transactions") if text(each, "kind") == "refund"]
    standing = [each for each in made if text(each, "status") not in {"failure", "error"}]
    amounts = [decimal_amount(piece(each, "amount"), piece(each, "currency"), {}) for each in standing or made]
    read = [amount for amount in amounts if amount is not None]
    if refund_id is None or not read or len({currency for _, currency in read}) != 1:
        return None
    if not standing:
        status = RefundStatus.FAILED
    elif all(text(each, "status") == "success" for each in standing):
        status = RefundStatus.SUCCEEDED
    else:
        status = RefundStatus.PENDING
    at = moment(piece(told, "created_at"))
    return Refund(refund_id, sum(amount for amount, _ in read), read[0][1], status, key_of(piece(told, "note")), at)


def _dispute(told: Json) -> Refund | None:
    dispute_id = name_at(told, "id")
    amount = decimal_amount(piece(told, "amount"), piece(told, "currency"), {})
    if dispute_id is None or amount is None:
        return None
    status = RefundStatus.FAILED if text(told, "status") in _OVER else RefundStatus.DISPUTED
    # Refunds and disputes are numbered each for itself.
    return Refund(f"dispute.{dispute_id}", *amount, status, None, moment(piece(told, "initiated_at")))
