"""The books of a provider with a refund protocol: what it has given back, which keys it knows, what is on its way to it.

It remembers a key for `key_lifetime`, and refuses one that comes with another amount; a wish takes effect within
`in_flight` or never. Of what others give back it keeps count, so that no more goes back than was paid; of ours it does
not, so that a second one of ours is seen.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from app.saga.definition import Limits
from app.saga.model import LastError, Outcome
from app.saga.refund_facts import KnownRefund, RefundStanding
from app.saga.signals import Answer, RefundAnswered, RefundBlocked
from tests.saga.stage import HOUR

PAID = 1999  # what the stage's payment has
ASK_AGAIN = HOUR

S, P, F = RefundStanding.SUCCEEDED, RefundStanding.PENDING, RefundStanding.FAILED


@dataclass(frozen=True, slots=True)
class Wish:
    """A wish that is on its way, or whose key is remembered. `at`: until when it may come, or since when it is known."""

    key: str
    amount: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Provider:
    """The books.

    Args:
        refunds: all that were made; ours have a key.
        keys: what is remembered.
        under_way: wishes that may still take effect.
        told: what events have told of, as it was then.
        begins_as: what a refund of ours is when it is made.
    """

    refunds: tuple[KnownRefund, ...] = ()
    keys: tuple[Wish, ...] = ()
    under_way: tuple[Wish, ...] = ()
    told: tuple[KnownRefund, ...] = ()
    begins_as: RefundStanding = S

    def at(self, now: datetime) -> "Provider":
        """Time has passed: what has not taken effect by now never will."""
        return replace(self, under_way=tuple(wish for wish in self.under_way if now < wish.at))

    @property
    def left(self) -> int:
        """What others have left of the payment."""
        return PAID - sum(one.amount for one in self.refunds if one.key is None and one.standing is not F)

    def arrive(self, key: str, amount: int, now: datetime, limits: Limits) -> tuple["Provider", Answer]:
        """A wish arrives: what it does, and what is answered."""
        known = next((wish for wish in self.keys if wish.key == key and now < wish.at + limits.key_lifetime), None)
        if known is not None:
            assert known.amount == amount, "a key comes with another amount"
            return self, RefundAnswered(self.made_under(key), ASK_AGAIN)
        if amount > self.left:
            return self, RefundBlocked(LastError(Outcome.UNAVAILABLE, "too much", 400), certain=True)
        made = KnownRefund(f"re_{len(self.refunds)}", amount, "EUR", self.begins_as, key)
        books = replace(self, refunds=(*self.refunds, made), keys=(*self.keys, Wish(key, amount, now)))
        return books, RefundAnswered(made, ASK_AGAIN)

    def made_under(self, key: str) -> KnownRefund:
        """The last refund of a key."""
        return [one for one in self.refunds if one.key == key][-1]

    def by_hand(self, amount: int) -> "Provider":
        """Others give a part back."""
        made = KnownRefund(f"re_{len(self.refunds)}", amount, "EUR", S)
        return replace(self, refunds=(*self.refunds, made))

    def settle(self, refund: KnownRefund, standing: RefundStanding) -> "Provider":
        """A refund comes further."""
        after = tuple(replace(one, standing=standing) if one.id == refund.id else one for one in self.refunds)
        return replace(self, refunds=after)
