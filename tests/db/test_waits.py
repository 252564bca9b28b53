"""Who has waited for a lock decides by what is there now, not by what was there when he began to wait."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import asyncpg

from app.db.claim import Claim
from app.db.engine import create
from app.db.sagas import Sagas
from app.db.store import Store
from app.saga import advance
from app.saga.signals import CancelRequested, StepDone
from tests.builders import NOW, FixedClock, arrival_of, operation_for, purchase_saga
from tests.queued import put_in_step

LEASE = timedelta(seconds=30)


async def until_somebody_waits(database: "asyncpg.Connection[Any]") -> None:
    """Until another session waits for a lock."""
    async with asyncio.timeout(10):
        while not await database.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            await asyncio.sleep(0)


async def test_a_decision_that_waited_for_the_row_is_judged_by_the_row_as_it_is_then(
    store: Store, database: Any
) -> None:
    """Trap 44: a cancel holds the row; a completion waits for it, with the row as it was before in mind."""
    await store.ingest(arrival_of(operation_for()))
    [one] = await store.claim(Claim(uuid4(), 0, 1, "worker-1", NOW, NOW + LEASE))
    done = advance(purchase_saga(), one.operation, StepDone(None), NOW, 0.5)
    cancelled = advance(purchase_saga(), one.operation, CancelRequested(), NOW, 0.5)
    assert done is not None
    assert cancelled is not None
    async with database.transaction():
        await database.execute("UPDATE operations SET revision = 3, cancel_requested_at = $1", NOW)
        recording = asyncio.create_task(store.record(done, actor="worker-1"))
        await until_somebody_waits(database)
    assert not await recording
    stored = await store.load(one.operation.id)
    assert stored == replace(cancelled.after, updated_at=NOW)


async def test_a_delivery_that_waited_for_the_same_payment_sees_what_was_stored(store: Store, database: Any) -> None:
    """Trap 44: the first delivery is at its commit; the second waits for it, and says what differs from it."""
    arrival = arrival_of(operation_for())
    await store.ingest(arrival_of(operation_for("pay_0")))
    async with database.transaction():
        columns = "bucket, source, order_id, currency, saga, saga_hash, phase, status, step, action,"
        columns += " attempt, revision, lease, next_run_at, deadline, steps, created_at, updated_at"
        await database.execute(
            f"INSERT INTO operations (id, serial, external_id, amount, {columns})"
            f" SELECT $1, $1, 'pay_1', 1, {columns} FROM operations",
            arrival.operation.id if arrival.operation else None,
        )
        storing = asyncio.create_task(store.ingest(arrival))
        await until_somebody_waits(database)
    found = await storing
    assert (found.status, found.detail) == ("conflict", "the payment is known with another amount: 1, not 1999")
    await put_in_step(database)


async def test_a_server_that_defaults_to_another_isolation_makes_no_difference(
    database_url: str, database: Any, clock: FixedClock
) -> None:
    """Trap 44: at REPEATABLE READ a transaction would go on seeing what was before it waited."""
    name = await database.fetchval("SELECT current_database()")
    await database.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'")
    engine = create(database_url, 1)
    await Sagas(engine, {}).store(purchase_saga())
    await engine.dispose()
    stores = [Store(database_url, 1, clock) for _ in range(2)]
    for number in range(10):
        arrival = arrival_of(operation_for(f"pay_{number}"))
        other = arrival_of(operation_for(f"pay_{number}", amount=1), delivery_id="msg_2")
        found = await asyncio.gather(stores[0].ingest(arrival), stores[1].ingest(replace(other)))
        assert sorted(one.status for one in found) == ["accepted", "conflict"]
    for store in stores:
        await store.close()
