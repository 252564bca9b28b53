"""What can happen to an operation. The machine takes one of these and decides."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from app.saga.model import Action, Json, LastError, Status
from app.saga.refund_facts import KnownRefund


@dataclass(frozen=True, slots=True)
class StepDone:
    """The call was carried out; `result` is its JSON answer, or None."""

    result: Json = None


@dataclass(frozen=True, slots=True)
class StepRejected:
    """This sending was finally refused: it did nothing. (A call that could not be made from its document counts too.)"""

    error: LastError


@dataclass(frozen=True, slots=True)
class StepUnavailable:
    """This sending was certainly not carried out.

    Args:
        retry_at: the agent asks not to be called before.
        arrived: whether the agent saw it at all; a sending that it never saw does not start its key's lifetime.
    """

    error: LastError
    retry_at: datetime | None = None
    arrived: bool = True


@dataclass(frozen=True, slots=True)
class StepUnknown:
    """Nobody knows whether this sending was carried out."""

    error: LastError
    retry_at: datetime | None = None


class Found(StrEnum):
    """What a lookup found."""

    DONE = "done"
    ABSENT = "absent"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class LookupAnswered:
    """The agent was asked whether a step was carried out. `result` only with DONE, `error` only with UNCLEAR."""

    found: Found
    result: Json = None
    error: LastError | None = None
    retry_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RefundsListed:
    """The refunds of a payment, as its provider lists them and as its events have told of them.

    Args:
        paid: what was captured of the payment, in minor units; None where nobody says it.
        complete: whether a refund that could take effect no more when the list was asked for would be in it.
        ask_again: how soon a refund that is pending is worth asking about again.
        basis: what the provider wants to know again when a wish is made from this list.
    """

    refunds: tuple[KnownRefund, ...]
    paid: int | None
    complete: bool
    ask_again: timedelta
    basis: Json = None


@dataclass(frozen=True, slots=True)
class RefundAnswered:
    """Our wish for a refund has made one, or had made it before. Its key is the wish's; `ask_again` as in the list."""

    refund: KnownRefund
    ask_again: timedelta


@dataclass(frozen=True, slots=True)
class RefundBlocked:
    """Our wish brought no refund: something is given back already, or stands in the way. The list tells what.

    Args:
        certain: whether the wish itself did nothing.
    """

    error: LastError
    certain: bool


Answer = (
    StepDone
    | StepRejected
    | StepUnavailable
    | StepUnknown
    | LookupAnswered
    | RefundsListed
    | RefundAnswered
    | RefundBlocked
)


@dataclass(frozen=True, slots=True)
class Deferred:
    """Claimed, but nothing was sent and nothing counts: the breaker is open, no slot was free, or we shut down.

    Args:
        error: what stands in the way, where that is worth telling.
    """

    until: datetime
    error: LastError | None = None


@dataclass(frozen=True, slots=True)
class LateAnswer:
    """An answer to a call whose lease was taken over meanwhile: evidence for its step, no more.

    Args:
        key: the call's idempotency key; a refund has several, one after the other.
    """

    step: str
    action: Action
    answer: Answer
    key: str | None = None


@dataclass(frozen=True, slots=True)
class RefundHeard:
    """The provider has told of refunds, by itself: all that it has told of this payment so far, whoever made them."""

    refunds: tuple[KnownRefund, ...]


@dataclass(frozen=True, slots=True)
class LeaseExpired:
    """The worker that held the operation has not renewed its lease."""


@dataclass(frozen=True, slots=True)
class DeadlinePassed:
    """The present phase has lasted as long as it may."""


@dataclass(frozen=True, slots=True)
class RetryRequested:
    """An operator wants it to run again now."""


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """An operator wants the money to go back; `undo_succeeded`: even where the purchase was made."""

    undo_succeeded: bool = False


@dataclass(frozen=True, slots=True)
class Resolved:
    """A human has settled the operation elsewhere. `outcome` is `succeeded` or `refunded`."""

    outcome: Status


@dataclass(frozen=True, slots=True)
class StepResolved:
    """A human has settled one step elsewhere: it is done, or it is undone."""

    step: str
    done: bool


Signal = (
    Answer
    | Deferred
    | LateAnswer
    | RefundHeard
    | LeaseExpired
    | DeadlinePassed
    | RetryRequested
    | CancelRequested
    | Resolved
    | StepResolved
)
