"""The books of a fake provider: what was captured, and what of it was given back. They never give back more than came."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from app.providers.refunds import RefundStatus


class Overdrawn(Exception):
    """More was asked for than is left of a payment."""


@dataclass(slots=True)
class Given:
    """One refund.

    Args:
        key: what its asker called it in the refund's own fields; None where it was made by hand.
    """

    id: str
    payment_id: str
    amount: int
    status: RefundStatus
    at: datetime
    key: str | None = None


@dataclass(slots=True)
class Captured:
    """One payment that was taken. Amounts are whole numbers in the unit of the fake, which is its provider's."""

    id: str
    amount: int
    currency: str
    at: datetime
    order_id: str
    refunds: list[Given] = field(default_factory=list)

    @property
    def refunded(self) -> int:
        """What has been given back, or is about to be."""
        return sum(refund.amount for refund in self.refunds if refund.status is not RefundStatus.FAILED)

    @property
    def left(self) -> int:
        """What can still be given back."""
        return self.amount - self.refunded


class Ledger:
    """The payments of one fake, oldest first."""

    def __init__(self) -> None:
        self.payments: dict[str, Captured] = {}

    def capture(self, payment: Captured) -> Captured:
        """Takes a payment down."""
        self.payments[payment.id] = payment
        return payment

    def give(self, refund: Given) -> Given:
        """Takes a refund down. Raises Overdrawn where less is left, and KeyError where there is no such payment."""
        payment = self.payments[refund.payment_id]
        if refund.amount > payment.left:
            raise Overdrawn(f"{refund.amount} of {payment.left}")
        payment.refunds.append(refund)
        return refund

    def refund(self, refund_id: str) -> Given:
        """One refund. Raises KeyError where there is none."""
        return {refund.id: refund for payment in self.payments.values() for refund in payment.refunds}[refund_id]

    def settle(self, refund_id: str, status: RefundStatus) -> Given:
        """Says what became of a refund; one that failed leaves its amount to be given back again."""
        refund = self.refund(refund_id)
        refund.status = status
        return refund

    def standing(self, payment_id: str) -> Sequence[Given]:
        """The refunds of a payment that have not failed."""
        return [each for each in self.payments[payment_id].refunds if each.status is not RefundStatus.FAILED]
