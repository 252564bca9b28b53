"""Prints docs/states.md: the states that the machine can reach and what leads from one to the other.

It asks the machine itself. Small sagas are walked through with every signal at every point, and each step of the walk
is written down. `python tools/states.py > docs/states.md` after a change; a test compares the two.
"""

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from app.errors import IllegalSignal, NotAllowed
from app.saga import Sending, advance, prepare
from app.saga.creation import Heard, new_operation
from app.saga.definition import Call, HttpCall, Limits, Lookup, RefundCall, RetryPolicy, Saga, Step
from app.saga.model import (
    SETTLED,
    Action,
    HeldReason,
    LastError,
    Operation,
    Outcome,
    Phase,
    Sendings,
    Status,
    StepState,
    Transition,
)
from app.saga.refund_facts import KnownRefund, RefundStanding, refund_key
from app.saga.signals import (
    Answer,
    CancelRequested,
    DeadlinePassed,
    Deferred,
    Found,
    LateAnswer,
    LeaseExpired,
    LookupAnswered,
    RefundAnswered,
    RefundBlocked,
    RefundHeard,
    RefundsListed,
    Resolved,
    RetryRequested,
    Signal,
    StepDone,
    StepRejected,
    StepResolved,
    StepUnavailable,
    StepUnknown,
)

State = tuple[Phase, Status]

HOUR = timedelta(hours=1)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ONCE = RetryPolicy(1, timedelta(seconds=1), 1.0, timedelta(seconds=1))
TWICE = replace(ONCE, maximum_attempts=2)
LIMITS = {"agent": Limits(key_lifetime=timedelta(hours=1), in_flight=timedelta(hours=3))}
CALL = HttpCall("agent", "POST", "/{operation_id}")
LOOKUP = Lookup("agent", "GET", "/{operation_id}")

# How late a worker may come: at once, past the key's lifetime, past `in_flight` too, past the deadline.
WAITS = {
    Status.PENDING: (timedelta(0), timedelta(days=30)),
    Status.ERROR: (timedelta(0), timedelta(hours=2), timedelta(hours=4)),
    Status.WAITING: (timedelta(0), timedelta(days=30)),
}

ERROR = {kind: LastError(kind, "") for kind in Outcome}
ANSWERS: tuple[Answer, ...] = (
    StepDone(),
    StepRejected(ERROR[Outcome.REJECTED]),
    StepUnavailable(ERROR[Outcome.UNAVAILABLE]),
    StepUnknown(ERROR[Outcome.UNKNOWN]),
)
UNCLEAR = LookupAnswered(Found.UNCLEAR, error=ERROR[Outcome.UNKNOWN])
LOOKUP_ANSWERS: tuple[Answer, ...] = (LookupAnswered(Found.DONE), LookupAnswered(Found.ABSENT), UNCLEAR)
RESOLVED = (Resolved(Status.SUCCEEDED), Resolved(Status.REFUNDED))
OPERATORS: tuple[Signal, ...] = (RetryRequested(), CancelRequested(), CancelRequested(undo_succeeded=True), *RESOLVED)


# What a provider with a refund protocol may say: nothing of ours, or ours as far as it has come; or others gave it all.
PROTOCOL = RefundCall("agent", "provider")
KEY = refund_key("agent", "pay_1", "payment", 1)
SO_FAR = (RefundStanding.PENDING, RefundStanding.SUCCEEDED, RefundStanding.FAILED)
OURS = tuple(KnownRefund("re_1", 1, "EUR", standing, KEY) for standing in SO_FAR)
OTHERS = KnownRefund("re_2", 1, "EUR", RefundStanding.SUCCEEDED)
REFUNDS = ((), (OTHERS,), *((one,) for one in OURS))
LISTS: tuple[Answer, ...] = (UNCLEAR, *(RefundsListed(refunds, None, True, HOUR) for refunds in REFUNDS))
MADE = tuple(RefundAnswered(one, HOUR) for one in OURS)
WISHES: tuple[Answer, ...] = (*ANSWERS[1:], *MADE, RefundBlocked(ERROR[Outcome.REJECTED], certain=True))
HEARD = tuple(map(RefundHeard, REFUNDS))


def saga_of(*steps: Step, refund_retry: RetryPolicy = ONCE, refund: Call = CALL) -> Saga:
    """A saga of the payment and these steps."""
    return Saga("purchase", (Step("payment", undo=refund, undo_retry=refund_retry), *steps), limits=LIMITS)


# No larger than they must be for every arrow to be found; and whether there are operators and late answers, with which
# the walk through the longer ones would take minutes.
SAGAS = (
    (saga_of(Step("buy", CALL, CALL, lookup=LOOKUP, retry=TWICE, undo_retry=ONCE)), True),
    (saga_of(Step("buy", CALL, None, retry=TWICE), refund_retry=TWICE), True),
    (saga_of(Step("buy", CALL, CALL, retry=TWICE, undo_retry=TWICE), refund_retry=TWICE), False),
    (saga_of(Step("buy", CALL, CALL, retry=ONCE), Step("deliver", CALL, CALL, retry=TWICE, undo_retry=ONCE)), False),
    (saga_of(Step("buy", CALL, CALL, retry=TWICE, undo_retry=ONCE), refund=PROTOCOL), True),
)


@dataclass(slots=True)
class Walk:
    """What was seen on the way: edges with their causes, and what leaves an operation held."""

    edges: dict[tuple[State, State], set[str]] = field(default_factory=lambda: defaultdict(set))
    held: dict[HeldReason, set[str]] = field(default_factory=lambda: defaultdict(set))

    def through(self, saga: Saga, *, interventions: bool) -> None:
        """Walks through all states of a saga that can be told apart.

        Args:
            interventions: whether operators act and answers come late.
        """
        first = created(saga)
        seen, waiting = {looks(saga, first, NOON)}, deque([(first, NOON)])
        while waiting:
            operation, now = waiting.popleft()
            for after, later, cause in moves(saga, operation, now, interventions=interventions):
                if cause is not None:
                    self.edges[(operation.phase, operation.status), (after.phase, after.status)].add(cause)
                if cause is not None and after.held_reason is not None and operation.held_reason is None:
                    self.held[after.held_reason].add(cause)
                look = looks(saga, after, later)
                if look not in seen:
                    seen.add(look)
                    waiting.append((after, later))


def created(saga: Saga) -> Operation:
    """The operation that a payment makes."""
    told: dict[str, Any] = {
        "source": "shop",
        "external_id": "pay_1",
        "order_id": "order-1",
        "amount": 1,
        "currency": "EUR",
    }
    heard = Heard(**told, occurred_at=None, traceparent=None)
    return new_operation(UUID(int=1), UUID(int=2), saga, "", heard, NOON)


def moves(
    saga: Saga, operation: Operation, now: datetime, *, interventions: bool
) -> Iterator[tuple[Operation, datetime, str | None]]:
    """What can happen to an operation: what it is then, when that is, and the cause as the history has it."""
    if operation.status in WAITS and operation.next_run_at is not None:
        for wait in WAITS[operation.status]:
            at = max(now, operation.next_run_at) + wait
            yield claimed(operation, at), at, "claimed"
    out = operation.status is Status.PROCESSING and operation.last_run_at is not None
    if operation.status is Status.PROCESSING and not out:
        planned = prepare(saga, operation, now)
        if isinstance(planned, Sending):
            yield planned.operation, now, None
        else:
            yield planned.after, now, planned.cause
    come = [*signals(saga, operation, now, out=out), *(interventions_in(saga, operation, now) if interventions else ())]
    for signal, at in come:
        transition = decided(saga, operation, signal, at)
        if transition is not None:
            # The walk marks with last_run_at that a call is out; whatever ends a claim ends that.
            still = transition.after.status is Status.PROCESSING
            after = transition.after if still else replace(transition.after, last_run_at=None)
            yield after, at, transition.cause


def signals(saga: Saga, operation: Operation, now: datetime, *, out: bool) -> Iterator[tuple[Signal, datetime]]:
    """What comes of workers and time, and when."""
    if operation.status is Status.PROCESSING:
        yield LeaseExpired(), now
        if out:
            undo = saga.steps[saga.index(operation.step)].undo if operation.phase is Phase.REFUND else None
            asked = (LISTS, WISHES) if isinstance(undo, RefundCall) else (LOOKUP_ANSWERS, ANSWERS)
            answers: Sequence[Answer] = asked[0] if operation.action is Action.LOOKUP else asked[1]
            yield from ((answer, now) for answer in answers)
        else:
            yield Deferred(now), now
    yield DeadlinePassed(), max(now, operation.deadline)


def interventions_in(saga: Saga, operation: Operation, now: datetime) -> Iterator[tuple[Signal, datetime]]:
    """What comes of operators, and of workers whose lease was taken over."""
    for signal in (*OPERATORS, *(HEARD if isinstance(saga.steps[0].undo, RefundCall) else ())):
        yield signal, now
    for step in saga.steps:
        yield StepResolved(step.name, done=True), now
        yield StepResolved(step.name, done=False), now
        for action in (Action.DO, Action.UNDO):
            state = operation.state_of(step.name)
            sent = state.do if action is Action.DO else state.undo
            if sent.unknown or (sent.count and operation.status in SETTLED):
                yield from ((LateAnswer(step.name, action, answer), now) for answer in ANSWERS)


def decided(saga: Saga, operation: Operation, signal: Signal, now: datetime) -> Transition | None:
    """What the machine makes of it; None where it is not allowed or changes nothing."""
    try:
        return advance(saga, operation, signal, now, 1.0)
    except (NotAllowed, IllegalSignal):
        return None


def claimed(operation: Operation, now: datetime) -> Operation:
    """The operation in a worker's hands."""
    return replace(
        operation,
        status=Status.PROCESSING,
        attempt=operation.attempt + 1,
        next_run_at=None,
        complete_by=now,
        locked_by="worker",
        last_run_at=None,
    )


def looks(saga: Saga, operation: Operation, now: datetime) -> object:
    """What tells two operations apart here: no times, but whether they have come."""
    limits = saga.limits["agent"]

    def of(sendings: Sendings) -> object:
        if not sendings.unknown or sendings.first_at is None or sendings.last_at is None:
            return None
        return now > sendings.first_at + limits.key_lifetime, now >= sendings.last_at + limits.in_flight

    def step(state: StepState) -> object:
        return state.status, state.did, of(state.do), of(state.undo), state.refund.failed, state.refund.elsewhere

    later = operation.next_run_at is not None and operation.next_run_at > now
    return (
        (operation.phase, operation.status, operation.held_reason, operation.step, operation.action),
        (operation.attempt, operation.cancel_requested_at is None, operation.last_run_at is None),
        (later, now >= operation.deadline, tuple(map(step, operation.steps))),
    )


def page(walk: Walk) -> str:
    """docs/states.md."""
    entered = {after[1] for _, after in walk.edges}
    never = [f"`{status}`" for status in Status if status not in entered]
    lines = [
        "# The states of an operation",
        "",
        "Generated from the machine by `tools/states.py`: every way that small sagas can go, each step written down.",
        "What stands at an arrow is the cause as `GET /operations/{id}/history` has it.",
        "",
    ]
    for title, phases in (
        ("The purchase", (Phase.PURCHASE, Phase.PURCHASE)),
        ("From the purchase to the refund", (Phase.PURCHASE, Phase.REFUND)),
        ("The refund", (Phase.REFUND, Phase.REFUND)),
    ):
        lines += [f"## {title}", "", *diagram(walk, phases), ""]
    lines += ["There is no way from the refund back to the purchase.", ""]
    if never:
        lines += [f"Not reached by these sagas: {', '.join(never)}.", ""]
    lines += ["## What leaves it held", "", "| held_reason | causes |", "| --- | --- |"]
    lines += [
        f"| `{reason}` | {', '.join(sorted(walk.held[reason]))} |" for reason in HeldReason if reason in walk.held
    ]
    return "\n".join(lines) + "\n"


def diagram(walk: Walk, phases: tuple[Phase, Phase]) -> Iterator[str]:
    """The edges between two phases, as a mermaid diagram."""
    edges = sorted(edge for edge in walk.edges if (edge[0][0], edge[1][0]) == phases)
    yield from ("```mermaid", "stateDiagram-v2")
    states = sorted({state for edge in edges for state in edge})
    yield from (f'    state "{phase}: {status}" as {phase}_{status}' for phase, status in states)
    if phases[1] is Phase.PURCHASE:
        yield "    [*] --> purchase_pending: payment_received"
    for before, after in edges:
        yield f"    {'_'.join(before)} --> {'_'.join(after)}: {', '.join(sorted(walk.edges[before, after]))}"
    yield "```"


def text() -> str:
    """The page as the machine of today makes it."""
    walk = Walk()
    for saga, interventions in SAGAS:
        walk.through(saga, interventions=interventions)
    return page(walk)


if __name__ == "__main__":
    print(text(), end="")
