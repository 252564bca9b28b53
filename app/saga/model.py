"""What a saga and an operation are: frozen values, with no row, no connection and no clock in them.

The members of each StrEnum are the words that the API, the tables and the logs use.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from app.saga.values import replace
from app.saga.writing import writer

Json = Any


class Phase(StrEnum):
    """The direction an operation goes in. From `refund` there is no way back."""

    PURCHASE = "purchase"
    REFUND = "refund"


class Status(StrEnum):
    """Where an operation stands."""

    PENDING = "pending"
    PROCESSING = "processing"
    ERROR = "error"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    REFUNDED = "refunded"
    HELD = "held"


FINAL = frozenset({Status.SUCCEEDED, Status.REFUNDED})
SETTLED = FINAL | {Status.HELD}
CLAIMABLE = frozenset({Status.PENDING, Status.ERROR, Status.WAITING})


class Reason(StrEnum):
    """Why an operation turned to refund."""

    REJECTED = "rejected"
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    DEADLINE_PASSED = "deadline_passed"
    CANCELLED = "cancelled"
    REFUNDED_ELSEWHERE = "refunded_elsewhere"


class HeldReason(StrEnum):
    """Why an operation needs a human."""

    UNDO_REJECTED = "undo_rejected"
    UNDO_EXHAUSTED = "undo_exhausted"
    CANNOT_UNDO = "cannot_undo"
    REFUND_FAILED = "refund_failed"
    CONTRADICTED = "contradicted"


class StepStatus(StrEnum):
    """What is known of one step."""

    TODO = "todo"
    DONE = "done"
    REJECTED = "rejected"
    FAILED = "failed"
    UNKNOWN = "unknown"
    UNDONE = "undone"
    UNDO_FAILED = "undo_failed"


class Action(StrEnum):
    """What is asked of an agent for a step."""

    DO = "do"
    UNDO = "undo"
    LOOKUP = "lookup"


class Outcome(StrEnum):
    """How one attempt ended."""

    DONE = "done"
    REJECTED = "rejected"
    UNAVAILABLE = "unavailable"
    UNKNOWN = "unknown"
    CRASHED = "crashed"


@dataclass(frozen=True, slots=True)
class LastError:
    """The last failure. `kind` is `rejected`, `unavailable`, `unknown` or `crashed`."""

    kind: Outcome
    detail: str
    status: int | None = None


@dataclass(frozen=True)
class Sendings:
    """What is known of all sendings of one idempotency key.

    Args:
        count: how many there were; the next one's `Makegood-Attempt` is one more.
        first_at: the first sending that may have arrived: from here the key's lifetime counts.
        last_at: the last sending: from here `in_flight` counts.
        unknown: how many of them have an outcome that nobody knows.
        out: one is out now, under the operation's present lease.
        refused: one was finally refused.
        conflict: the last one was answered 409, so another one may still be running there.
    """

    count: int = 0
    first_at: datetime | None = None
    last_at: datetime | None = None
    unknown: int = 0
    out: bool = False
    refused: bool = False
    conflict: bool = False


NO_SENDINGS = Sendings()


@dataclass(frozen=True)
class RefundState:
    """What is known of the refund that gives a payment back.

    Args:
        number: which one of ours it is, from 1; the next has a new key, after proof that this one gave nothing back.
        amount: what was first asked for under this number's key, in minor units; None before.
        basis: what the list behind that wish gave for it as the provider's own; a repetition rests on the same.
        id: what the provider calls this number's, once it has told.
        former: what it calls those before that have failed.
        failed: there is proof that this number's refund failed.
        elsewhere: others have given the whole payment back.
    """

    number: int = 1
    amount: int | None = None
    basis: Json = None
    id: str | None = None
    former: tuple[str, ...] = ()
    failed: bool = False
    elsewhere: bool = False


NO_REFUND = RefundState()


@dataclass(frozen=True)
class StepState:
    """What has become of one step.

    Args:
        did: there is proof that the step was carried out (also when it was undone since).
        absent: it counts as undone since there was nothing to undo, not since an undo was carried out.
        settled: a human settled it elsewhere; nothing is to be called for it any more.
        refund: of the payment alone.
    """

    name: str
    status: StepStatus = StepStatus.TODO
    result: Json = None
    did: bool = False
    absent: bool = False
    settled: bool = False
    do: Sendings = NO_SENDINGS
    undo: Sendings = NO_SENDINGS
    refund: RefundState = NO_REFUND


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One payment on its way to be made good.

    Args:
        serial: an id of its own that rises with time; the database keeps neighbours in time side by side by it.
        step: the name of the step that is at work, was last at work, or is next.
        action: what the next call for that step is.
        attempt: how often the present action was claimed; counted at the claim, so that a claim that kills its
            process is counted too.
        lease: the number of the present or the last claim; each claim makes a new one.
        complete_by: the end of the lease as set at the claim.
        deadline: the end of the present phase.
        last_run_at: when the last call was put on record, on its way out. That is no new revision, so it fences too: a
            decision made on the operation before the call was out must not be written over it.
    """

    id: UUID
    serial: UUID
    source: str
    external_id: str
    order_id: str
    amount: int
    currency: str
    saga: str
    saga_hash: str
    phase: Phase = Phase.PURCHASE
    status: Status = Status.PENDING
    reason: Reason | None = None
    held_reason: HeldReason | None = None
    step: str
    action: Action = Action.DO
    attempt: int = 0
    revision: int = 1
    lease: int = 0
    next_run_at: datetime | None = None
    complete_by: datetime | None = None
    locked_by: str | None = None
    deadline: datetime
    cancel_requested_at: datetime | None = None
    occurred_at: datetime | None = None
    last_error: LastError | None = None
    steps: tuple[StepState, ...]
    traceparent: str | None = None
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None = None
    last_run_at: datetime | None = None

    @property
    def failure_count(self) -> int:
        """Failures of the present action: the claims, less the one that is running."""
        return self.attempt - (self.status is Status.PROCESSING)

    @property
    def refunded_elsewhere(self) -> bool:
        """Whether others have given the whole payment back."""
        return bool(self.steps) and self.steps[0].refund.elsewhere

    @property
    def is_final(self) -> bool:
        """Whether it has succeeded or was refunded."""
        return self.status in FINAL

    def state_of(self, step: str) -> StepState:
        """The state of the step of that name. Raises KeyError where there is none."""
        for state in self.steps:
            if state.name == step:
                return state
        raise KeyError(step)


@dataclass(frozen=True, slots=True)
class Transition:
    """One decision: the operation before and after it. It is written only if `before` is still what is stored.

    Args:
        cause: the signal that brought it, as a word of the history.
    """

    before: Operation
    after: Operation
    cause: str

    @classmethod
    def of(cls, before: Operation, after: Operation, cause: str) -> "Transition":
        """The decision that makes `after` of `before`: one revision on."""
        return cls(before, replace(after, revision=before.revision + 1), cause)


_compact = writer(ensure_ascii=False)


def compact_json(value: Json) -> str:
    """JSON with nothing in it that need not be, keys in the order given."""
    return _compact(value)
