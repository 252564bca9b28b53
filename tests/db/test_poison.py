"""What cannot be written, read or planned stands alone: its neighbours go on, and nothing is done twice."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import asyncpg

from app.db.claim import Claim
from app.db.operations import HeldLease
from app.db.store import Store
from app.saga import advance
from app.saga.model import Operation, Status, Transition
from app.saga.signals import StepDone
from tests.builders import NOW, FixedClock, arrival_of, operation_for, purchase_saga
from tests.queued import put_in_step

LEASE = timedelta(seconds=30)


async def receive(store: Store, *external_ids: str) -> None:
    await asyncio.gather(*(store.ingest(arrival_of(operation_for(external_id))) for external_id in external_ids))


async def claim(store: Store, most: int = 10) -> list[Operation]:
    wanted = Claim(uuid4(), 0, most, "worker-1", NOW, NOW + LEASE)
    return [one.operation for one in await store.claim(wanted)]


def done(operation: Operation, result: Any = None) -> Transition:
    transition = advance(purchase_saga(), operation, StepDone(result), NOW, 0.5)
    assert transition is not None
    return transition


async def make_unreadable(database: "asyncpg.Connection[Any]", external_id: str) -> None:
    """As a newer program may have written it, before this one was started again."""
    steps = '[{"name":"payment","status":"of-tomorrow"}]'
    await database.execute("UPDATE operations SET steps = $1 WHERE external_id = $2", steps, external_id)


async def test_a_decision_that_is_written_again_finds_that_it_has_landed(store: Store, database: Any) -> None:
    """Trap 9: the commit's answer was lost, and the database away for longer than the writer itself sends again."""
    await receive(store, "pay_1")
    [operation] = await claim(store)
    transition, id_ = done(operation), uuid4()
    assert await store.record(transition, actor="worker-1", id=id_)
    assert await store.record(transition, actor="worker-1", id=id_)
    assert not await store.record(transition, actor="worker-2")
    assert await database.fetchval("SELECT count(*) FROM history") == 3


async def test_an_answer_that_no_statement_can_carry_fails_alone(store: Store) -> None:
    """Trap 41: of five answers in one flush one holds NaN, which JSON does not have."""
    await receive(store, *(f"pay_{number}" for number in range(5)))
    first, *others = await claim(store)
    poisoned = done(first, {"price": float("nan")})
    written = [store.record(one, actor="worker-1") for one in (poisoned, *map(done, others))]
    failed, *landed = await asyncio.gather(*written, return_exceptions=True)
    assert isinstance(failed, ValueError)
    assert landed == [True] * 4


async def test_a_row_that_cannot_be_read_does_not_keep_the_others_from_being_claimed(
    store: Store, database: Any
) -> None:
    """Trap 28: it is claimed and counted with the others, and stands under its lease, out of their way."""
    await receive(store, "pay_1", "pay_2", "pay_3")
    await make_unreadable(database, "pay_2")
    assert sorted(one.external_id for one in await claim(store)) == ["pay_1", "pay_3"]
    assert await claim(store) == []
    row = await database.fetchrow("SELECT serial, status, revision FROM operations WHERE external_id = 'pay_2'")
    assert (row["status"], row["revision"]) == (Status.PROCESSING, 2)
    history = "SELECT count(*) FROM history WHERE operation_serial = $1"
    assert await database.fetchval(history, row["serial"]) == 2


async def test_leases_that_nobody_can_take_back_do_not_hide_the_others(
    store: Store, database: Any, clock: FixedClock
) -> None:
    """Trap 31: a supervisor that sees the same first page for ever never comes to the rest."""
    await receive(store, *(f"pay_{number}" for number in range(5)))
    claimed = await claim(store)
    for place, operation in enumerate(claimed):
        ends = NOW + LEASE + timedelta(seconds=place // 2)
        await database.execute("UPDATE operations SET complete_by = $1 WHERE id = $2", ends, operation.id)
    await put_in_step(database)
    await make_unreadable(database, claimed[0].external_id)
    clock.advance(LEASE * 2)
    first = await store.expired(0, 2)
    second = await store.expired(0, 2, first)
    third = await store.expired(0, 2, second)
    found = [one.external_id for page in (first, second, third) for one in page.operations]
    assert sorted(found) == sorted(one.external_id for one in claimed[1:])
    assert [first.more, second.more, third.more] == [True, True, False]


async def test_a_migration_under_a_running_service_is_no_failure(store: Store, database: Any) -> None:
    """A statement that was planned before a column was added is planned anew."""
    await receive(store, "pay_1")
    assert len(await claim(store)) == 1
    await database.execute("ALTER TABLE operations ADD COLUMN of_tomorrow text")
    await receive(store, "pay_2")
    assert [one.external_id for one in await claim(store)] == ["pay_2"]


async def test_a_heartbeat_renews_the_lease_it_names_and_no_later_one(store: Store, database: Any) -> None:
    """Trap 21: this process has lost a lease and has claimed the operation anew; the lost one is not renewed by that."""
    await receive(store, "pay_1")
    [operation] = await claim(store)
    old, new = HeldLease.of(operation), HeldLease(operation.serial, operation.id, 2)
    await database.execute("UPDATE operations SET lease = 2")
    assert await store.heartbeat([old, new], NOW + LEASE) == {new: True}
