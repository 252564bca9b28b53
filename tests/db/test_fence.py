"""The fence: a decision lands only on what it was made on."""

from typing import Any

from app.db.decisions import crashed
from app.db.journal import AttemptEnd
from app.db.operations import HeldLease
from app.db.store import Store
from app.saga import advance
from app.saga.model import Outcome
from app.saga.signals import CancelRequested, LeaseExpired
from tests.builders import NOW, FixedClock, purchase_saga
from tests.db.claims import LEASE, begun, claimed, done, start_for


async def test_a_call_is_on_record_before_its_answer(store: Store, database: Any) -> None:
    """Trap 1: a crash between call and record must leave a trace of the call."""
    operation = await begun(store, await claimed(store))
    attempt = await database.fetchrow("SELECT * FROM attempts")
    assert attempt["outcome"] is None
    assert attempt["idempotency_key"] == f"{operation.id}:purchase:do"
    stored = await store.load(operation.id)
    assert stored == operation


async def test_of_two_decisions_on_one_revision_one_lands(store: Store, database: Any) -> None:
    """Trap 25: a cancel and a completion at the same instant have one order; the loser decides again."""
    operation = await begun(store, await claimed(store))
    cancel = advance(purchase_saga(), operation, CancelRequested(), NOW, 0.5)
    assert cancel is not None
    end = AttemptEnd(operation.lease, Outcome.DONE, None, NOW)
    landed = [
        await store.record(cancel, actor="key:shop"),
        await store.record(done(operation), actor="worker-1", attempt=end),
    ]
    assert landed == [True, False]
    assert await database.fetchval("SELECT outcome FROM attempts") is None
    again = await store.load(operation.id)
    assert again is not None
    assert again.cancel_requested_at is not None
    assert await store.record(done(again), actor="worker-1", attempt=end)
    final = await store.load(operation.id)
    assert final is not None
    assert (final.phase, final.reason) == ("refund", "cancelled")


async def test_a_cancel_decided_on_before_the_call_went_out_does_not_forget_that_it_is_out(store: Store) -> None:
    """Trap: the call's going out is no revision; written over it, the cancel would give the money back at once."""
    before = await claimed(store)
    cancel = advance(purchase_saga(), before, CancelRequested(), NOW, 0.5)
    assert cancel is not None
    operation = await begun(store, before)
    assert not await store.record(cancel, actor="key:shop")
    stored = await store.load(operation.id)
    assert stored == operation
    again = advance(purchase_saga(), operation, CancelRequested(), NOW, 0.5)
    assert again is not None
    assert await store.record(again, actor="key:shop")


async def test_a_call_does_not_go_out_once_a_cancel_has_come(store: Store) -> None:
    before = await claimed(store)
    cancel = advance(purchase_saga(), before, CancelRequested(), NOW, 0.5)
    assert cancel is not None
    assert await store.record(cancel, actor="key:shop")
    assert not await store.begin(before, start_for(before))


async def test_a_worker_whose_lease_was_taken_over_changes_nothing(store: Store, clock: FixedClock) -> None:
    """Trap 21: the zombie wakes up and writes by its old lease."""
    operation = await begun(store, await claimed(store))
    clock.advance(LEASE * 2)
    expired = advance(purchase_saga(), operation, LeaseExpired(), clock.now(), 0.5)
    assert expired is not None
    assert await store.record(
        expired, actor="supervisor", attempt=crashed(operation, clock.now()), expired_before=clock.now()
    )
    assert not await store.record(done(operation), actor="worker-1")
    assert not await store.begin(operation, start_for(operation))
    assert await store.heartbeat([HeldLease.of(operation)], clock.now() + LEASE) == {}


async def test_a_heartbeat_that_comes_between_makes_the_end_of_the_lease_void(store: Store, clock: FixedClock) -> None:
    """Trap 27: a supervisor must not act on its list, but on the row as it is when it acts."""
    operation = await begun(store, await claimed(store))
    clock.advance(LEASE * 2)
    assert [one.id for one in (await store.expired(0, 10)).operations] == [operation.id]
    noticed = clock.now()
    decided = advance(purchase_saga(), operation, LeaseExpired(), noticed, 0.5)
    assert decided is not None
    lease = HeldLease.of(operation)
    assert await store.heartbeat([lease], noticed + LEASE) == {lease: True}
    assert not await store.record(decided, actor="supervisor", expired_before=noticed)
    assert (await store.expired(0, 10)).operations == []
    kept = await store.load(operation.id)
    assert kept == operation


async def test_an_answer_wins_over_the_crash_that_was_assumed_and_never_the_other_way(
    store: Store, database: Any
) -> None:
    operation = await begun(store, await claimed(store))
    await store.end_attempt(operation, crashed(operation, NOW))
    answer = AttemptEnd(operation.lease, Outcome.DONE, {"status": 200, "body": "\x00"}, NOW)
    await store.end_attempt(operation, answer)
    await store.end_attempt(operation, crashed(operation, NOW))
    assert await database.fetchval("SELECT outcome FROM attempts") == "done"
    assert await database.fetchval("SELECT response FROM attempts") is not None
