"""One payment as its provider shows it beside the operation that it has here. Pure: all that is known comes in."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from app.providers.reading import Payment
from app.saga.model import Operation, Phase, Status
from app.saga.refund_facts import KnownRefund, RefundStanding


class Difference(StrEnum):
    """What is found. All but GIVEN_BACK want somebody to look."""

    MISSING = "missing"  # no webhook has told of it; it has been taken in now
    GIVEN_BACK = "given_back"  # nor of this one, and all of it was given back since: there is nothing left to make good
    DOUBTFUL = "doubtful"  # nor of this one, whose money may not stay: it has not been taken in, a human decides
    AMOUNT = "amount"
    CURRENCY = "currency"
    REFUNDED = "refunded"
    UNREADABLE = "unreadable"  # kept among the events, for an operator


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about one payment. `here` and `there` are what is known here and what the provider shows.

    Args:
        currency: of the amounts; None where there are none.
        detail: in words, for a person.
    """

    difference: Difference
    payment_id: str | None
    order_id: str | None
    operation_id: UUID | None
    here: int | str | None
    there: int | str | None
    currency: str | None
    detail: str

    @property
    def differs(self) -> bool:
        """Whether it wants somebody to look."""
        return self.difference is not Difference.GIVEN_BACK


@dataclass(frozen=True, slots=True)
class Told:
    """What events have told of the refunds of a payment, whoever made them, in minor units.

    Args:
        pending: may be given back yet; some providers count it as given.
        disputed: taken by the payer's bank, which some providers do not count as given back.
    """

    succeeded: int = 0
    pending: int = 0
    disputed: int = 0


NOTHING_TOLD = Told()


def told_by(refunds: Collection[KnownRefund]) -> Told:
    """What refunds add up to."""

    def total(standing: RefundStanding) -> int:
        return sum(refund.amount for refund in refunds if refund.standing is standing)

    return Told(total(RefundStanding.SUCCEEDED), total(RefundStanding.PENDING), total(RefundStanding.DISPUTED))


def compare(
    payment: Payment, operation: Operation, refunded: int | None, told: Told, asked_at: datetime
) -> Iterator[Finding]:
    """What differs.

    Args:
        refunded: what the provider shows as given back of it, in minor units; None where it shows nothing.
        asked_at: when the provider was asked; what has changed here since is not compared with what it said then.
    """
    if payment.currency != operation.currency:
        detail = f"the currency is {operation.currency} here and {payment.currency} there"
        yield _finding(Difference.CURRENCY, operation, operation.currency, payment.currency, detail)
        return
    if payment.amount != operation.amount:
        detail = "the amount is another one there"
        yield _finding(Difference.AMOUNT, operation, operation.amount, payment.amount, detail)
    if refunded is None or operation.updated_at >= asked_at or _is_giving_back(operation):
        return
    least, most = _given_back(operation, told)
    if not least <= refunded <= most:
        there = "more" if refunded > most else "less"
        detail = f"the operation is {operation.status}, and {there} is given back there than is known here"
        yield _finding(Difference.REFUNDED, operation, most if refunded > most else least, refunded, detail)


def _is_giving_back(operation: Operation) -> bool:
    """Whether our own refund is on its way: then any part of it may be there already."""
    return operation.phase is Phase.REFUND and operation.status not in {Status.REFUNDED, Status.HELD}


def _given_back(operation: Operation, told: Told) -> tuple[int, int]:
    """The least and the most that should be given back of a payment."""
    if operation.status is Status.REFUNDED:
        return max(0, operation.amount - told.pending - told.disputed), operation.amount
    most = told.succeeded + told.pending + told.disputed
    return min(told.succeeded, operation.amount), min(most, operation.amount)


def _finding(difference: Difference, operation: Operation, here: int | str, there: int | str, detail: str) -> Finding:
    return Finding(
        difference=difference,
        payment_id=operation.external_id,
        order_id=operation.order_id,
        operation_id=operation.id,
        here=here,
        there=there,
        currency=None if difference is Difference.CURRENCY else operation.currency,
        detail=detail,
    )
