"""A stage for the machine's tests: small sagas, one operation on its way, and a clock that stands until it is moved."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from app.saga import Sending, advance, prepare
from app.saga.creation import Heard, new_operation
from app.saga.definition import HttpCall, Limits, LocalCall, Lookup, RetryPolicy, Saga, Step
from app.saga.model import (
    CLAIMABLE,
    FINAL,
    Action,
    LastError,
    Operation,
    Outcome,
    Phase,
    Status,
    StepStatus,
    Transition,
)
from app.saga.signals import (
    Found,
    LookupAnswered,
    Signal,
    StepDone,
    StepRejected,
    StepUnavailable,
    StepUnknown,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
LEASE = 30 * SECOND

IN_FLIGHT = MINUTE
KEY_LIFETIME = DAY
LIMITS = Limits(timeout=10 * SECOND, key_lifetime=KEY_LIFETIME, in_flight=IN_FLIGHT)


def step(
    name: str,
    *,
    undo: bool = True,
    undo_needed: bool = True,
    lookup: bool = False,
    local: bool = False,
    attempts: int = 3,
    undo_attempts: int = 3,
) -> Step:
    """A step whose agent has the step's own name."""

    def call(what: str) -> HttpCall | LocalCall:
        return LocalCall(f"shop.steps:{what}_{name}") if local else HttpCall(name, "POST", f"/{what}/{{operation_id}}")

    return Step(
        name,
        do=call("do"),
        undo=call("undo") if undo else None,
        undo_needed=undo_needed,
        lookup=Lookup(name, "GET", "/{operation_id}") if lookup else None,
        retry=RetryPolicy(attempts, SECOND, 2.0, MINUTE),
        undo_retry=RetryPolicy(undo_attempts, SECOND, 2.0, 5 * MINUTE),
    )


def saga_of(
    *steps: Step,
    deadline: timedelta = HOUR,
    undo_deadline: timedelta = 7 * DAY,
    refund_attempts: int = 3,
    limits: Limits = LIMITS,
) -> Saga:
    """A saga of the payment and these steps."""
    refund = HttpCall("psp", "POST", "/refunds")
    payment = Step("payment", undo=refund, undo_retry=RetryPolicy(refund_attempts, SECOND, 2.0, 5 * MINUTE))
    return Saga(
        "purchase",
        (payment, *steps),
        deadline,
        undo_deadline,
        dict.fromkeys(("psp", *(step.name for step in steps)), limits),
    )


def created(saga: Saga, now: datetime = NOON) -> Operation:
    """The operation that a payment of this saga makes."""
    return new_operation(
        UUID("6a1f4c9e-0000-5000-8000-000000000001"),
        UUID("6a1f4c9e-0000-7000-8000-000000000001"),
        saga,
        "hash",
        Heard(
            source="shop",
            external_id="pay_1",
            order_id="order-1",
            amount=1999,
            currency="EUR",
            occurred_at=None,
            traceparent=None,
        ),
        now,
    )


def done(result: object = None) -> StepDone:
    """2xx."""
    return StepDone(result)


def rejected(status: int = 422) -> StepRejected:
    """Another 4xx."""
    return StepRejected(LastError(Outcome.REJECTED, "no", status))


def unavailable(status: int | None = 503, retry_at: datetime | None = None) -> StepUnavailable:
    """A status that says that it was not carried out."""
    return StepUnavailable(LastError(Outcome.UNAVAILABLE, "not now", status), retry_at)


def unreached() -> StepUnavailable:
    """No connection."""
    return StepUnavailable(LastError(Outcome.UNAVAILABLE, "no connection"), arrived=False)


def unknown() -> StepUnknown:
    """Sent, and no answer."""
    return StepUnknown(LastError(Outcome.UNKNOWN, "no answer within 10 s"))


def found(result: object = None) -> LookupAnswered:
    """The lookup says that it was done."""
    return LookupAnswered(Found.DONE, result)


def absent() -> LookupAnswered:
    """The lookup says that it was not done."""
    return LookupAnswered(Found.ABSENT)


def unclear() -> LookupAnswered:
    """The lookup says nothing."""
    return LookupAnswered(Found.UNCLEAR, error=LastError(Outcome.UNAVAILABLE, "lookup down", 503))


def assert_row_rules(operation: Operation) -> None:
    """What the table's CHECKs ask of a row, and what follows from them: nothing waits for ever."""
    running = operation.status is Status.PROCESSING
    assert running == (operation.complete_by is not None) == (operation.locked_by is not None)
    assert (operation.status in CLAIMABLE) == (operation.next_run_at is not None)
    assert (operation.status in FINAL) == (operation.finished_at is not None)
    assert (operation.status is Status.HELD) == (operation.held_reason is not None)
    assert operation.status is not Status.REFUNDED or operation.phase is Phase.REFUND
    assert operation.attempt >= 0
    assert operation.lease >= 0
    assert operation.revision >= 1
    assert operation.failure_count >= 0
    if operation.next_run_at is not None:
        assert operation.next_run_at <= operation.deadline, "the deadline is when it is looked at, at the latest"
    if operation.phase is Phase.REFUND:
        assert operation.reason is not None
    else:
        assert operation.reason is None
    for state in operation.steps:
        assert state.status is not StepStatus.DONE or state.did
        assert not state.do.out or running
        assert not state.undo.out or running


class Play:
    """One operation on its way. Every change is checked: one revision on, and no rule of the row broken."""

    def __init__(self, saga: Saga, operation: Operation | None = None) -> None:
        self.saga = saga
        self.now = NOON
        self.operation = operation or created(saga)
        self.sending: Sending | None = None
        self.calls: list[tuple[str, Action, int, str | None]] = []
        assert_row_rules(self.operation)

    @property
    def status(self) -> tuple[Phase, Status]:
        """Phase and status."""
        return self.operation.phase, self.operation.status

    def state(self, name: str) -> StepStatus:
        """The status of a step."""
        return self.operation.state_of(name).status

    def wait(self, time: timedelta) -> None:
        """Lets time pass."""
        self.now += time

    def claim(self) -> None:
        """A worker claims the operation, as soon as it is due."""
        assert self.operation.status in CLAIMABLE
        assert self.operation.next_run_at is not None
        self.now = max(self.now, self.operation.next_run_at)
        self.operation = claimed(self.operation, self.now)
        assert_row_rules(self.operation)

    def begin(self) -> Sending | None:
        """The worker puts the next call on record; None where what stands next needs no call."""
        planned = prepare(self.saga, self.operation, self.now)
        if isinstance(planned, Transition):
            self.land(planned)
            return None
        assert planned.operation.revision == self.operation.revision
        self.operation = planned.operation
        self.sending = planned
        self.calls.append((planned.step, planned.action, planned.attempt, planned.key))
        assert_row_rules(self.operation)
        return planned

    def send(self) -> Sending:
        """Claims and begins until a call is out."""
        for _ in range(5):
            self.claim()
            sending = self.begin()
            if sending is not None:
                return sending
        raise AssertionError(f"no call goes out: {self.operation}")

    def decide(self, signal: Signal, jitter: float = 1.0) -> Transition | None:
        """What the machine makes of a signal now; nothing is written."""
        return advance(self.saga, self.operation, signal, self.now, jitter)

    def tell(self, signal: Signal, jitter: float = 1.0) -> Operation:
        """Something happens, and it changes something."""
        transition = self.decide(signal, jitter)
        assert transition is not None, f"{signal} changes nothing"
        self.land(transition)
        return self.operation

    def land(self, transition: Transition) -> None:
        """The store writes a decision."""
        assert transition.before is self.operation
        assert transition.after.revision == transition.before.revision + 1
        assert transition.cause
        self.operation = transition.after
        assert_row_rules(self.operation)

    def run(self, *answers: Signal) -> Operation:
        """Sends as many calls as there are answers."""
        for answer in answers:
            self.send()
            self.tell(answer)
        return self.operation

    def idle(self) -> Operation:
        """Claims until the operation rests, with no call gone out."""
        while self.operation.status in CLAIMABLE:
            self.claim()
            assert self.begin() is None, f"a call went out: {self.sending}"
        return self.operation


def claimed(operation: Operation, now: datetime) -> Operation:
    """What the store's claim makes of a row."""
    return replace(
        operation,
        status=Status.PROCESSING,
        attempt=operation.attempt + 1,
        lease=operation.lease + 1,
        revision=operation.revision + 1,
        next_run_at=None,
        complete_by=now + LEASE,
        locked_by="worker",
        updated_at=now,
    )
