"""How a provider is spoken to: giving money back, reading what was paid, and what it tells of refunds by itself.

A provider opens no connection. It says what it wants asked, is handed the answer, and says what that means; the worker
carries both and decides nothing about money. All amounts here are in the minor unit of ISO 4217.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import ClassVar

from app.saga.model import Json
from app.saga.refund_facts import KnownRefund, RefundStanding
from app.settings import Source

# What our key is called in those fields of a refund that are its asker's own.
KEY_FIELD = "makegood_key"


class RefundStatus(StrEnum):
    """How far a refund has come. `disputed`: the payer's bank has taken the money, or is about to."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    DISPUTED = "disputed"


@dataclass(frozen=True, slots=True)
class Refund:
    """One refund of a payment, as its provider knows it.

    Args:
        id: the provider's.
        amount: minor units, at least 1.
        currency: ISO 4217, upper case.
        key: what we called it when we asked for it; None where it is somebody else's.
    """

    id: str
    amount: int
    currency: str
    status: RefundStatus
    key: str | None = None
    at: datetime | None = None


def known_refund(refund: Refund) -> KnownRefund:
    """A provider's refund as the machine knows it."""
    standing = RefundStanding(refund.status.value)
    return KnownRefund(refund.id, refund.amount, refund.currency, standing, refund.key, refund.at)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A refund that is to be made. The same values make the same bytes, for ever: a key is refused with other ones.

    Args:
        payment_id: the provider's id of the payment.
        amount: minor units: all that was paid, or what others have left of it.
        key: a UUID in its usual form; the same until this refund has failed for certain.
        event: the webhook's JSON that told of the payment.
        basis: what the list that this wish rests on gave as its own; kept with the amount for as long as the key is used.
    """

    payment_id: str
    order_id: str
    amount: int
    currency: str
    key: str
    event: Json
    basis: Json = None


@dataclass(frozen=True, slots=True)
class Question:
    """A request that a provider wants sent to its agent.

    Args:
        path: behind the agent's base URL, already quoted, with its query.
        content: the body's bytes; None has none.
        recorded: the body as it is put on record.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    recorded: Json = None


@dataclass(frozen=True, slots=True)
class Answered:
    """What came back. `json` is None where the body is none.

    Args:
        headers: by their names in lower case.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Json = None


class Verdict(StrEnum):
    """What an answer without a refund in it says, where the table for all agents would read it wrongly.

    `rejected`: finally refused, nothing was done. `unavailable`: nothing was done, ask again. `unknown`: nobody knows.
    `look_again`: something has been refunded already, or stands in the way; the list tells what.
    """

    REJECTED = "rejected"
    UNAVAILABLE = "unavailable"
    UNKNOWN = "unknown"
    LOOK_AGAIN = "look_again"


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer to a wish for a refund that holds none."""

    verdict: Verdict
    detail: str


@dataclass(frozen=True, slots=True)
class Listed:
    """One page of the refunds of a payment.

    Args:
        paid: what was captured of the payment, where the answer tells it, in minor units; nothing above it is given back.
        next_page: what asks for the next page; None on the last.
        basis: what `give` must know of the payment that no event tells; None: nothing, or another page has it.
    """

    refunds: tuple[Refund, ...]
    paid: int | None = None
    next_page: str | None = None
    basis: Json = None


class Refunds(ABC):
    """The refund protocol of one provider."""

    # How long it remembers a key, with a margin; and how soon a refund that is pending is worth asking about again.
    key_lifetime: ClassVar[timedelta]
    ask_again: ClassVar[timedelta] = timedelta(hours=1)

    # Whether its list, once `in_flight` is over, proves that a refund which is not in it was never made.
    complete: ClassVar[bool] = True

    def search(self, wanted: Wanted, page: str | None) -> Question | None:  # noqa: ARG002 - some have no list
        """Asks for the payment's refunds, a page of them; None where there is no such call and only events tell."""
        return None

    def found(self, wanted: Wanted, answered: Answered) -> Listed | None:  # noqa: ARG002 - some have no list
        """What a 2xx answer to `search` says; None where it cannot be read: nothing is known then, and nothing is sent."""
        return None

    @abstractmethod
    def give(self, wanted: Wanted) -> Question:
        """Asks for the refund, with its key in the provider's form, and in its own fields, by which it is known again.

        Raises:
            Rejected: the provider cannot be asked for it, such as where its currency has fewer decimals there.
        """

    @abstractmethod
    def given(self, wanted: Wanted, answered: Answered) -> Refund | Refusal | None:
        """What an answer to `give` says; None: the table for all agents is right (a 2xx that cannot be read is unknown)."""


@dataclass(frozen=True, slots=True)
class RefundNews:
    """What an event tells of a refund or a dispute, whoever made it.

    Args:
        payment_id: of the payment that it belongs to.
    """

    payment_id: str
    refund: Refund


@dataclass(frozen=True, slots=True)
class PaidPage:
    """Payments of a provider, each as the body of the event that would have told of it, ready to be read as one.

    Args:
        bodies: paid ones alone; where a list cannot be asked for times, also of other times: `occurred_at` tells.
        refunded: by payment id, minor units, where the answer tells it.
        next_page: what asks for the next page; None on the last.
        doubtful: by payment id, why one that no webhook has told of is not to be made good without a human.
    """

    bodies: tuple[bytes, ...]
    refunded: Mapping[str, int] = field(default_factory=dict)
    next_page: str | None = None
    doubtful: Mapping[str, str] = field(default_factory=dict)


class Payments(ABC):
    """How the payments of one provider are read from its API, for those that no webhook has told of."""

    @abstractmethod
    def search(self, source: Source, since: datetime, until: datetime, page: str | None) -> Question | None:
        """Asks for what was paid from `since` on, before `until`; a page of it. None: what is left is of other times."""

    @abstractmethod
    def found(self, source: Source, answered: Answered) -> PaidPage | None:
        """What a 2xx answer says; None where it cannot be read."""
