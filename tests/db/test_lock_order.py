"""Rows are locked in one order by all who write many at once: else two of them wait for each other until the server ends one."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

from app.db.operations import HeldLease
from app.db.store import Store
from app.ids import serial
from app.saga.model import Operation, Status, Transition
from tests.builders import NOW, FixedClock, arrival_of, operation_for
from tests.db.claims import LEASE, claim_of

COUNT = 300
DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"


def again(operation: Operation) -> Transition:
    """It is due again at once."""
    after = replace(operation, status=Status.ERROR, next_run_at=NOW, complete_by=None, locked_by=None)
    return Transition.of(operation, after, "step_unavailable")


async def test_heartbeats_and_records_of_the_same_operations_never_wait_for_each_other_in_a_circle(
    store: Store, database: Any, database_url: str
) -> None:
    """Seen with four hundred calls under way: ids are hashes, so an order of ids is none of serials."""
    beating = Store(database_url, 1, FixedClock())
    arrivals = []
    for number in range(COUNT):
        one = operation_for(f"pay_{number}")
        arrivals.append(arrival_of(replace(one, serial=serial(NOW + timedelta(milliseconds=number), one.id))))
    await store.ingest_all(arrivals)
    await database.execute("ANALYZE")
    for _ in range(10):
        claimed = [one.operation for one in await store.claim(claim_of(COUNT))]
        assert len(claimed) == COUNT
        leases = [HeldLease.of(one) for one in claimed]
        beat = asyncio.create_task(beating.heartbeat(leases, NOW + LEASE))
        landed = await asyncio.gather(*(store.record(again(one), actor="worker-1") for one in reversed(claimed)))
        assert all(landed)
        assert set(await beat) <= set(leases)
    await beating.close()
    await database.execute("SELECT pg_stat_force_next_flush()")
    assert await database.fetchval(DEADLOCKS) == 0


async def test_a_heartbeat_waits_for_nobody_and_says_what_it_has_left_for_the_next(store: Store, database: Any) -> None:
    await store.ingest_all([arrival_of(operation_for(f"pay_{number}")) for number in range(2)])
    leases = sorted(HeldLease.of(one.operation) for one in await store.claim(claim_of()))
    async with database.transaction():
        await database.execute("SELECT FROM operations WHERE serial = $1 FOR UPDATE", leases[0].serial)
        async with asyncio.timeout(5):
            assert await store.heartbeat(leases, NOW + LEASE) == {leases[0]: False, leases[1]: True}
    assert await store.heartbeat(leases, NOW + LEASE) == dict.fromkeys(leases, True)
