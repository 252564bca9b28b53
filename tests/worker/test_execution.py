"""What is recorded of a claim: once, also where the answer to a commit was lost; and never as evidence for another call."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, cast
from uuid import uuid4

import pytest

from app.agents import Exchange, RequestRefused
from app.agents.breaker import CircuitBreaker
from app.agents.gate import Gate
from app.db.claim import Claim, Claimed
from app.db.engine import connect, create
from app.db.operations import Begun
from app.db.sagas import Sagas
from app.db.store import Store
from app.errors import DatabaseUnavailable
from app.saga import Sending, advance, prepare
from app.saga.model import LastError, Operation, Outcome, Status, StepStatus, Transition
from app.saga.signals import CancelRequested, LeaseExpired, StepUnavailable, StepUnknown
from app.worker.ahead import Prepared
from app.worker.execute import execute
from app.worker.execution import Execution, start_of
from tests.builders import FixedClock, arrival_of, operation_for, purchase_saga
from tests.worker.stage import LEASE, REQUEST, SaidAgents, execution_of

UNKNOWN = Exchange(StepUnknown(LastError(Outcome.UNKNOWN, "no answer")), None, Outcome.UNKNOWN)
UNAVAILABLE = Exchange(StepUnavailable(LastError(Outcome.UNAVAILABLE, "busy", 503)), None, Outcome.UNAVAILABLE)


class Lossy(Store):
    """A store that says of what has landed that nobody knows: the database went away at the commit.

    Args:
        losing: how many of the next records are lost so.
    """

    losing = 0

    async def record(self, transition: Transition, **how: Any) -> bool:
        landed = await super().record(transition, **how)
        if self.losing:
            self.losing -= 1
            raise DatabaseUnavailable("away")
        return landed


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
async def store(database_url: str, clock: FixedClock) -> AsyncIterator[Lossy]:
    engine = create(database_url, 1)
    await Sagas(engine, {}).store(purchase_saga())
    await engine.dispose()
    store = Lossy(database_url, 1, clock)
    await store.ingest(arrival_of(operation_for()))
    yield store
    await store.close()


async def claim(store: Store, clock: FixedClock) -> Claimed:
    """Claims the one operation, whenever it is due."""
    clock.advance(timedelta(seconds=10))
    now = clock.now()
    [one] = await store.claim(Claim(uuid4(), 0, 1, "worker-1", now, now + LEASE))
    return one


async def work(store: Store, clock: FixedClock, exchange: Exchange) -> Operation:
    """One claim, worked on by a worker whose call ends so."""
    one = await claim(store, clock)
    await execute(execution_of(Execution, store, SaidAgents(exchange), clock, one), one.operation)
    return await stored(store, one)


async def stored(store: Store, one: Claimed) -> Operation:
    operation = await store.load(one.operation.id)
    assert operation is not None
    return operation


async def test_an_answer_whose_commit_was_lost_counts_once(store: Lossy, clock: FixedClock, database_url: str) -> None:
    """Trap 9: the database went away at the commit that had landed, for longer than the writer itself tries.

    Written again as if it were a late answer, "busy" would take back that the first call's outcome is unknown; and a
    purchase that was made would count as certainly not made, and never be undone.
    """
    await work(store, clock, UNKNOWN)
    store.losing = 1
    operation = await work(store, clock, UNAVAILABLE)
    assert operation.state_of("purchase").status is StepStatus.UNKNOWN
    assert operation.state_of("purchase").do.unknown == 1
    assert (operation.status, operation.attempt) == (Status.ERROR, 2)
    connection = await connect(database_url)
    causes = await connection.fetch("SELECT cause FROM history ORDER BY revision")
    await connection.close()
    assert [row["cause"] for row in causes] == [
        "payment_received",
        "claimed",
        "step_unknown",
        "claimed",
        "step_unavailable",
    ]


@pytest.mark.parametrize("raced", [False, True])
async def test_in_flight_counts_from_when_the_call_went_out(store: Lossy, clock: FixedClock, *, raced: bool) -> None:
    """The call waited for a slot and a connection after it was put on record; a cancel comes while it is out."""
    one = await claim(store, clock)
    went = clock.now() + timedelta(seconds=2)
    agents = SaidAgents(replace(UNKNOWN, sent_at=went))
    if raced:
        agents.meanwhile = partial(cancel, store, one, clock)
    await execute(execution_of(Execution, store, agents, clock, one), one.operation)
    operation = await stored(store, one)
    assert operation.phase == ("refund" if raced else "purchase")
    assert operation.state_of("purchase").do.last_at == went


async def cancel(store: Store, one: Claimed, clock: FixedClock) -> None:
    """An operator cancels what is stored now."""
    cancelled = advance(purchase_saga(), await stored(store, one), CancelRequested(), clock.now(), 0.5)
    assert cancelled is not None
    assert await store.record(cancelled, actor="anna")


class Refusing(SaidAgents):
    """Agents for whom no request can be made of the document."""

    def render(self, *_: object) -> Any:
        raise RequestRefused("the path needs {order_id}, which is missing")


async def test_a_call_that_could_not_be_made_is_no_evidence_for_one_that_was_made(
    store: Lossy, clock: FixedClock
) -> None:
    """Trap 3: the lease was taken over meanwhile, and the refusal is nobody's late answer: it was never sent."""
    await work(store, clock, UNKNOWN)
    one = await claim(store, clock)
    late = execution_of(Execution, store, Refusing(), clock, one)
    expired = advance(purchase_saga(), one.operation, LeaseExpired(), clock.now(), 0.5)
    assert expired is not None
    assert await store.record(expired, actor="supervisor")
    assert await execute(late, one.operation) is None
    operation = await stored(store, one)
    assert operation.state_of("purchase").do.unknown == 1
    assert not operation.state_of("purchase").do.refused


async def test_a_cancel_that_comes_between_is_seen_before_anything_is_sent(store: Lossy, clock: FixedClock) -> None:
    """Trap 20: the claim was made, then the operator cancelled, then the call would have gone out."""
    one = await claim(store, clock)
    cancelled = advance(purchase_saga(), one.operation, CancelRequested(), clock.now(), 0.5)
    assert cancelled is not None
    assert await store.record(cancelled, actor="anna")
    agents = SaidAgents()
    left = await execute(execution_of(Execution, store, agents, clock, one), one.operation)
    assert agents.calls == 0
    assert left is not None
    assert (left.phase, left.reason, left.step) == ("refund", "cancelled", "payment")


async def test_at_the_end_of_the_process_a_claim_is_given_back_uncounted(store: Lossy, clock: FixedClock) -> None:
    one = await claim(store, clock)
    agents = SaidAgents()
    execution = execution_of(Execution, store, agents, clock, one)
    execution.parts.draining.set()
    left = await execute(execution, one.operation)
    assert agents.calls == 0
    assert left is not None
    assert (left.status, left.attempt) == (Status.PENDING, 0)
    assert left.next_run_at is not None
    assert left.next_run_at <= clock.now() + timedelta(seconds=1)


async def test_a_worker_that_was_restarted_is_another_one(store: Lossy, clock: FixedClock) -> None:
    """Trap 26: the same name after a restart; who holds a lease is known by the lease, not by the name."""
    one = await claim(store, clock)
    again = replace(one, operation=replace(one.operation, lease=one.operation.lease + 1))
    execution = execution_of(Execution, store, SaidAgents(), clock, again)
    assert execution.parts.worker == one.operation.locked_by
    assert not execution.is_ours(one.operation)


async def test_the_event_of_an_operation_goes_with_its_calls_and_may_have_been_emptied(
    store: Lossy, clock: FixedClock
) -> None:
    one = await claim(store, clock)
    for event, told in ((one.event, {"type": "payment.received"}), (None, None)):
        execution = execution_of(Execution, store, SaidAgents(), clock, replace(one, event=event))
        sending = prepare(execution.saga, one.operation, clock.now())
        assert isinstance(sending, Sending)
        assert execution.document(sending)["event"] == told


class Answering(SaidAgents):
    """Agents of whom nothing more is asked than the call that is ready."""

    def render(self, *_: object) -> Any:
        raise AssertionError("another call is made ready")


async def test_what_was_taken_over_during_the_call_that_was_ready_is_left_alone(
    store: Lossy, clock: FixedClock
) -> None:
    """Trap 21: its answer is kept as evidence, and nothing is sent under the old lease."""
    one = await claim(store, clock)
    sending = prepare(purchase_saga(), one.operation, clock.now())
    assert isinstance(sending, Sending)
    agents = Answering(UNKNOWN)
    execution = execution_of(Execution, store, agents, clock, one)
    begun = Begun(sending.operation, start_of(execution.parts, sending, {}, execution.parts.clock.now()))
    assert await store.begin(begun.operation, begun.start)

    async def taken_over() -> None:
        expired = advance(purchase_saga(), sending.operation, LeaseExpired(), clock.now(), 0.5)
        assert expired is not None
        assert await store.record(expired, actor="supervisor")

    agents.meanwhile = taken_over
    gate = Gate("supplier", 1, CircuitBreaker(1, LEASE), clock)
    slot = gate.slot_now()
    assert slot is not None
    assert await execute(execution, one.operation, Prepared(sending, cast("Any", REQUEST), slot, begun)) is None
    assert agents.calls == 1
    assert gate.slot_now() is not None
