"""Random sagas under random answers, crashes, late answers, operators and clocks, against the agents' books.

Where the exhaustive search goes everywhere in small sagas, this one goes far in larger ones. The operators here tell
the truth: what they settle by hand they have looked up, or done themselves.
"""

from dataclasses import replace
from datetime import timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from app.saga import prepare
from app.saga.definition import Limits, LocalCall, Step
from app.saga.model import CLAIMABLE, SETTLED, Action, Phase, Status, StepStatus, Transition
from app.saga.signals import (
    Answer,
    CancelRequested,
    DeadlinePassed,
    Deferred,
    LateAnswer,
    LeaseExpired,
    Resolved,
    RetryRequested,
    StepResolved,
)
from app.saga.why import why
from tests.saga.agents import assert_laws, assert_may_be_sent, opened
from tests.saga.payment import Fate, Payment
from tests.saga.stage import (
    DAY,
    HOUR,
    LEASE,
    MINUTE,
    NOON,
    SECOND,
    assert_row_rules,
    claimed,
    created,
    rejected,
    saga_of,
    step,
    unavailable,
    unclear,
    unknown,
    unreached,
)

# `in_flight` is no longer than `timeout`: a sending that ends in time for its key also takes effect in time for it.
LIMITS = (
    Limits(10 * SECOND, DAY, 10 * SECOND),
    Limits(SECOND, 4 * SECOND, SECOND),
    Limits(MINUTE, HOUR, 20 * SECOND),
)
WAITS = (SECOND, SECOND, 10 * SECOND, 10 * SECOND, 5 * MINUTE, HOUR, DAY)

# Claims after which an operation with agents that answer must have come to rest: all attempts of all calls, and more.
ENOUGH = 400

FATES: tuple[Fate, ...] = ("lost", "reached", "under way")


@st.composite
def steps(draw: st.DrawFn, number: int) -> Step:
    """A step of any kind."""
    kind = draw(st.sampled_from(("plain", "plain", "lookup", "lookup", "local", "no undo", "undo not needed")))
    return step(
        f"step_{number}",
        lookup=kind == "lookup",
        local=kind == "local",
        undo=kind not in {"no undo", "undo not needed"},
        undo_needed=kind != "undo not needed",
        attempts=draw(st.integers(1, 4)),
        undo_attempts=draw(st.integers(1, 4)),
    )


class OnePayment(Payment):
    """One operation, its agents and everyone who may touch it."""

    @initialize(data=st.data(), count=st.integers(1, 4), limits=st.sampled_from(LIMITS))
    def begin(self, data: st.DataObject, count: int, limits: Limits) -> None:
        self.saga = saga_of(
            *(data.draw(steps(number)) for number in range(count)),
            deadline=data.draw(st.sampled_from((MINUTE, HOUR, 3 * DAY))),
            undo_deadline=data.draw(st.sampled_from((MINUTE, DAY, 7 * DAY))),
            refund_attempts=data.draw(st.integers(1, 4)),
            limits=limits,
        )
        self.now = NOON
        self.operation = created(self.saga)
        self.agents = opened(self.saga)
        self.sending = None
        self.late: list[LateAnswer] = []

    # --- the worker ---

    @rule(calls=st.booleans())
    @precondition(lambda self: self.operation.status in CLAIMABLE)
    def claim(self, calls: bool) -> None:
        """Most claims go on to a call at once; between the others and theirs something may come."""
        at = self.operation.next_run_at
        assert at is not None
        self.pass_to(at)
        self.operation = claimed(self.operation, self.now)
        if calls:
            self.put_on_record()

    @rule()
    @precondition(lambda self: self.operation.status is Status.PROCESSING and self.sending is None)
    def put_on_record(self) -> None:
        planned = prepare(self.saga, self.operation, self.now)
        if isinstance(planned, Transition):
            self.land(planned)
            return
        assert_may_be_sent(self.saga, planned, self.agents)
        self.operation, self.sending = planned.operation, planned

    @rule(wait=st.sampled_from(WAITS))
    @precondition(lambda self: self.operation.status is Status.PROCESSING and self.sending is None)
    def defer(self, wait: timedelta) -> None:
        self.tell(Deferred(self.now + wait))

    @rule(jitter=st.floats(0, 1))
    @precondition(lambda self: self.sending is not None)
    def answer(self, jitter: float) -> None:
        reached, answer = self.arrival(self.call_out())
        self.agents, self.sending = reached, None
        self.tell(answer, jitter)

    @rule(which=st.sampled_from((rejected(), unavailable(), unavailable(409), unreached(), unclear())))
    @precondition(lambda self: self.sending is not None)
    def fail(self, which: Answer) -> None:
        sending = self.call_out()
        is_lookup = sending.action is Action.LOOKUP
        local = isinstance(sending.call, LocalCall)
        if is_lookup != (which == unclear()) or (local and which == unavailable(409)):
            return
        busy = not is_lookup and self.agents.busy(self.saga.index(sending.step))
        if busy and which in {rejected(), unavailable()}:
            return
        if which == unavailable(409):
            self.agents = self.agents.sent(self.message(sending, busy=True)).at(self.now)
        self.sending = None
        self.tell(which)

    @rule(fate=st.sampled_from(FATES))
    @precondition(lambda self: self.sending is not None and isinstance(self.sending.key, str))
    def lose_the_answer(self, fate: Fate) -> None:
        if isinstance(self.call_out().call, LocalCall):
            return
        self.happen(self.call_out(), fate)
        self.sending = None
        self.tell(unknown())

    @rule(fate=st.sampled_from(FATES), late=st.booleans())
    @precondition(lambda self: self.operation.status is Status.PROCESSING)
    def crash(self, fate: Fate, late: bool) -> None:
        """The lease runs out; where the worker lives on, its answer comes later."""
        sending, self.sending = self.sending, None
        if sending is not None and sending.key is not None and not isinstance(sending.call, LocalCall):
            answer = self.happen(sending, fate)
            if late and fate != "under way":
                said = answer if fate == "reached" else unavailable()
                self.late.append(LateAnswer(sending.step, sending.action, said))
        self.pass_to(self.now + LEASE)
        self.tell(LeaseExpired())

    @rule()
    @precondition(lambda self: bool(self.late))
    def answer_late(self) -> None:
        self.tell(self.late.pop(0))

    # --- the agents and the clock ---

    @rule()
    @precondition(lambda self: bool(self.agents.under_way))
    def take_effect(self) -> None:
        message = self.agents.under_way[0]
        self.agents = self.agents.land(message, self.now, self.limits)

    @rule(wait=st.sampled_from(WAITS))
    def wait(self, wait: timedelta) -> None:
        self.pass_to(self.now + wait)

    @rule()
    @precondition(lambda self: self.now >= self.operation.deadline)
    def the_deadline_has_passed(self) -> None:
        self.tell(DeadlinePassed())

    # --- operators ---

    @rule(undo_succeeded=st.booleans())
    @precondition(lambda self: self.operation.phase is Phase.PURCHASE)
    def cancel(self, undo_succeeded: bool) -> None:
        self.tell(CancelRequested(undo_succeeded))

    @rule(data=st.data())
    @precondition(lambda self: self.operation.status in {Status.ERROR, Status.HELD})
    def operate(self, data: st.DataObject) -> None:
        """An operator retries, or settles a step, or all of it."""
        act = data.draw(st.sampled_from(("retry", "retry", "settle a step", "settle it all")))
        if act == "retry":
            self.tell(RetryRequested())
        elif act == "settle a step":
            self.settle_a_step(data)
        elif not self.agents.under_way:
            self.settle_it_all()

    def settle_a_step(self, data: st.DataObject) -> None:
        """An operator looks the step up, or undoes it by hand, and says so."""
        place = data.draw(st.integers(0, len(self.saga.steps) - 1))
        book, name = self.agents.books[place], self.saga.steps[place].name
        if any(message.place == place for message in self.agents.under_way):
            return
        if place == 0:
            self.tell(StepResolved(name, done=not book.undone))
        elif book.live and data.draw(st.booleans()):
            self.tell(StepResolved(name, done=True))
        else:
            self.by_hand(place)
            self.tell(StepResolved(name, done=False))

    def settle_it_all(self) -> None:
        """An operator ends it as what it is, or gives everything back by hand."""
        undone = any(state.status is StepStatus.UNDONE for state in self.operation.steps)
        whole = all(book.live for book in self.agents.books[1:]) and not self.agents.books[0].undone
        if whole and not undone:
            self.tell(Resolved(Status.SUCCEEDED))
            return
        for place in range(len(self.saga.steps)):
            self.by_hand(place)
        self.tell(Resolved(Status.REFUNDED))

    def by_hand(self, place: int) -> None:
        """What stands is taken back by hand; the money is given back by hand, where it is not back yet."""
        book = self.agents.books[place]
        done = replace(book, undone=1) if place == 0 else replace(book, live=0)
        self.agents = replace(self.agents, books=(*self.agents.books[:place], done, *self.agents.books[place + 1 :]))

    # --- the laws ---

    @invariant()
    def the_laws_hold(self) -> None:
        operation = self.operation
        assert_row_rules(operation)
        assert_laws(self.saga, operation, self.agents)
        assert "None" not in why(self.saga, operation)
        now = self.saga.steps[self.saga.index(operation.step)]
        policy = now.undo_retry if operation.action is Action.UNDO else now.retry
        assert operation.attempt <= policy.maximum_attempts, "calls are bounded"

    def teardown(self) -> None:
        """From wherever it is, with agents that answer it comes to rest: nothing waits for ever."""
        if not hasattr(self, "operation"):
            return
        for _ in range(ENOUGH):
            if self.operation.status in SETTLED:
                break
            if self.sending is not None:
                self.answer(1.0)
            elif self.operation.status is Status.PROCESSING:
                self.put_on_record()
            else:
                self.claim(calls=True)
            self.the_laws_hold()
        assert self.operation.status in SETTLED


TestOnePayment = OnePayment.TestCase
TestOnePayment.settings = settings(
    max_examples=400,
    stateful_step_count=40,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
