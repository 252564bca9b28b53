"""What a process surely holds: its own idea of a lease ends before the database's does, and nothing is sent after it."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from app.db.claim import Claimed
from app.db.operations import HeldLease
from app.errors import DatabaseUnavailable
from app.saga import Sending, prepare
from app.saga.model import Outcome
from app.worker.call import send
from app.worker.execution import Execution
from app.worker.lease import Leases
from tests.builders import NOW, FixedClock, purchase_saga
from tests.worker.stage import LEASE, SaidAgents, SaidStore, as_store, claimed, execution_of

ONE = claimed().operation
MOMENT = timedelta(milliseconds=1)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


def test_a_lease_is_counted_from_before_its_claim_was_sent(clock: FixedClock) -> None:
    """Trap 22: the claim waited for a second and a half; counted from its answer, the lease would seem longer than it is."""
    leases = Leases(as_store(SaidStore()), clock, LEASE)
    sent = clock.monotonic()
    clock.advance(timedelta(seconds=1.5))
    lease = leases.hold(ONE, sent)
    clock.advance(LEASE - timedelta(seconds=1.5) - MOMENT)
    assert leases.surely_holds(lease)
    clock.advance(MOMENT)
    assert not leases.surely_holds(lease)


async def test_a_heartbeat_is_counted_from_before_it_was_sent(clock: FixedClock) -> None:
    """Trap 22: what the answer took on its way is no part of the lease."""

    async def slow() -> None:
        clock.advance(timedelta(seconds=5))

    store = SaidStore(meanwhile=slow)
    leases = Leases(as_store(store), clock, LEASE)
    lease = leases.hold(ONE, clock.monotonic())
    clock.advance(timedelta(seconds=10))
    sent = clock.monotonic()
    await leases.beat()
    assert store.beats == [NOW + timedelta(seconds=10) + LEASE]
    assert lease.until == sent + LEASE.total_seconds()


async def test_a_lease_whose_operation_is_being_written_stays_as_it_is_until_the_next_heartbeat(
    clock: FixedClock,
) -> None:
    store = SaidStore(kept=set(), written={HeldLease.of(ONE)})
    leases = Leases(as_store(store), clock, LEASE)
    sent = clock.monotonic()
    lease = leases.hold(ONE, sent)
    clock.advance(timedelta(seconds=10))
    await leases.beat()
    assert lease.until == sent + LEASE.total_seconds()
    store.kept, store.written = None, set()
    await leases.beat()
    assert lease.until == clock.monotonic() + LEASE.total_seconds()


async def test_a_lease_that_was_taken_over_is_over_at_once(clock: FixedClock) -> None:
    """Trap 21: another worker has it; this one learns of it by its heartbeat and sends nothing more."""
    leases = Leases(as_store(SaidStore(kept=set())), clock, LEASE)
    lease = leases.hold(ONE, clock.monotonic())
    await leases.beat()
    assert not leases.surely_holds(lease)


async def test_a_later_lease_of_the_same_operation_does_not_renew_the_lost_one(clock: FixedClock) -> None:
    """Trap 21: this process itself has claimed the operation anew, while a call under the lost lease is still out."""
    leases = Leases(as_store(SaidStore(kept={HeldLease(ONE.serial, ONE.id, 2)})), clock, LEASE)
    lost, present = (leases.hold(replace(ONE, lease=number), clock.monotonic()) for number in (1, 2))
    clock.advance(timedelta(seconds=1))
    await leases.beat()
    assert (leases.surely_holds(lost), leases.surely_holds(present)) == (False, True)


async def test_what_is_done_with_is_not_renewed(clock: FixedClock) -> None:
    store = SaidStore()
    leases = Leases(as_store(store), clock, LEASE)
    leases.release(leases.hold(ONE, clock.monotonic()))
    await leases.beat()
    assert store.beats == []


async def test_heartbeats_that_fail_are_tried_again_and_the_lease_ends_meanwhile(clock: FixedClock) -> None:
    """Trap 23: the heartbeat fails; the lease is not held for longer by that, and the duty goes on."""
    beaten = asyncio.Event()

    async def away() -> None:
        clock.advance(LEASE / 3)
        if len(store.beats) == 3:
            beaten.set()
        raise DatabaseUnavailable("away")

    store = SaidStore(meanwhile=away)
    leases = Leases(as_store(store), clock, timedelta(milliseconds=30))
    lease = leases.hold(ONE, clock.monotonic())
    beating = asyncio.create_task(leases.run())
    async with asyncio.timeout(10):
        await beaten.wait()
    beating.cancel()
    assert not leases.surely_holds(lease)


async def end_of_sending(
    store: SaidStore, agents: SaidAgents, clock: FixedClock, begun: float, one: Claimed | None = None
) -> list[Outcome]:
    """Sends under a lease that is counted from `begun`; returns how the call ended, if it was put on record."""
    one = one or claimed()
    plan = prepare(purchase_saga(), one.operation, clock.now())
    assert isinstance(plan, Sending)
    await send(execution_of(Execution, store, agents, clock, one, begun), one.operation, plan)
    return [end.outcome for end in store.ends]


async def test_nothing_is_put_on_record_or_sent_under_a_lease_that_may_be_over(clock: FixedClock) -> None:
    """Trap 23: the process was busy with something else until its lease had ended."""
    store, agents = SaidStore(), SaidAgents()
    begun = clock.monotonic()
    clock.advance(LEASE)
    assert await end_of_sending(store, agents, clock, begun) == []
    assert (store.begun, agents.calls) == ([], 0)


async def test_a_call_is_not_sent_where_the_deadline_passed_while_it_was_put_on_record(clock: FixedClock) -> None:
    """Trap 20: forward sendings stop at the deadline, also where the way to the door takes longer than that."""

    async def slow() -> None:
        clock.advance(timedelta(seconds=2))

    store, agents, one = SaidStore(meanwhile=slow), SaidAgents(), claimed()
    one = replace(one, operation=replace(one.operation, deadline=NOW + timedelta(seconds=1)))
    assert await end_of_sending(store, agents, clock, clock.monotonic(), one) == [Outcome.UNAVAILABLE]
    assert agents.calls == 0


async def test_a_call_is_not_sent_where_the_lease_ended_while_it_was_put_on_record(clock: FixedClock) -> None:
    """Trap 23: the record took so long that another worker may have taken over; it certainly was not sent by us."""

    async def slow() -> None:
        clock.advance(LEASE)

    store, agents = SaidStore(meanwhile=slow), SaidAgents()
    assert await end_of_sending(store, agents, clock, clock.monotonic()) == [Outcome.UNAVAILABLE]
    assert len(store.begun) == 1
    assert agents.calls == 0
