"""The transactions of Python steps: all of a step is there, or nothing; those of one order take turns."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from app.db.claim import Claim
from app.db.decisions import Decision
from app.db.engine import AsyncEngine
from app.db.local import LocalTransaction, LocalTransactions, OrderBusy, RolledBack
from app.db.operations import HeldLease
from app.db.store import Store
from app.errors import DatabaseUnavailable
from app.saga import advance
from app.saga.model import Operation, Transition
from app.saga.signals import CancelRequested, StepDone
from tests.builders import NOW, arrival_of, operation_for, purchase_saga

TIMEOUT = timedelta(seconds=10)


@pytest.fixture
def local(engine: AsyncEngine) -> LocalTransactions:
    return LocalTransactions(engine, 1, 4)


async def claimed(store: Store, database: Any) -> Operation:
    """An operation that a worker has claimed, and a table for what its step writes."""
    await database.execute("CREATE TABLE effects (what text)")
    await store.ingest(arrival_of(operation_for()))
    [one] = await store.claim(Claim(uuid4(), 0, 1, "worker-1", NOW, NOW))
    return one.operation


def decided(operation: Operation, signal: StepDone | CancelRequested) -> Transition:
    transition = advance(purchase_saga(), operation, signal, NOW, 0.5)
    assert transition is not None
    return transition


def decision_on(operation: Operation) -> Decision:
    return Decision(uuid4(), operation.id, operation.serial, NOW, decided(operation, StepDone(None)), "worker-1")


async def write_effect(transaction: LocalTransaction) -> None:
    await transaction.connection.execute("INSERT INTO effects VALUES ('reserved')")


async def effects(database: Any) -> int:
    return int(await database.fetchval("SELECT count(*) FROM effects"))


async def test_what_a_step_writes_is_committed_with_the_record_of_it(
    local: LocalTransactions, store: Store, database: Any
) -> None:
    operation = await claimed(store, database)
    decision = decision_on(operation)

    async def work(transaction: LocalTransaction) -> str:
        await write_effect(transaction)
        await transaction.record(decision)
        assert await effects(database) == 0
        return "done"

    assert await local.run("order-1", work, TIMEOUT) == "done"
    assert await effects(database) == 1
    after = decided(operation, StepDone(None)).after
    assert await local.landed(after, decision.id)
    assert not await local.landed(after, uuid4())


async def test_a_step_whose_operation_has_changed_meanwhile_leaves_nothing_behind(
    local: LocalTransactions, store: Store, database: Any
) -> None:
    """Trap 21: the fenced write comes last, and where it lands on no row it takes all effects back."""
    operation = await claimed(store, database)

    async def work(transaction: LocalTransaction) -> None:
        await write_effect(transaction)
        assert await store.record(decided(operation, CancelRequested()), actor="anna")
        await transaction.record(decision_on(operation))

    with pytest.raises(RolledBack):
        await local.run("order-1", work, TIMEOUT)
    assert await effects(database) == 0
    stored = await store.load(operation.id)
    assert stored is not None
    assert stored.cancel_requested_at == NOW


async def test_no_row_is_locked_while_a_step_runs(local: LocalTransactions, store: Store, database: Any) -> None:
    """Trap 23: a heartbeat of many rows would wait behind it, and all their leases would run out."""
    operation = await claimed(store, database)
    lease = HeldLease.of(operation)

    async def work(transaction: LocalTransaction) -> dict[HeldLease, bool]:
        await write_effect(transaction)
        async with asyncio.timeout(5):
            return await store.heartbeat([lease], NOW)

    assert await local.run("order-1", work, TIMEOUT) == {lease: True}


async def test_two_steps_of_one_order_never_run_at_once_and_those_of_two_orders_may(local: LocalTransactions) -> None:
    inside, may_end = asyncio.Event(), asyncio.Event()

    async def work(_transaction: LocalTransaction) -> str:
        inside.set()
        await may_end.wait()
        return "done"

    async def at_once(_transaction: LocalTransaction) -> str:
        return "done"

    first = asyncio.create_task(local.run("order-1", work, TIMEOUT))
    await inside.wait()
    with pytest.raises(OrderBusy):
        await local.run("order-1", at_once, TIMEOUT)
    assert await local.run("order-2", at_once, TIMEOUT) == "done"
    may_end.set()
    assert await first == "done"
    assert await local.run("order-1", at_once, TIMEOUT) == "done"


async def test_steps_leave_half_of_the_pool_to_the_others(local: LocalTransactions, engine: AsyncEngine) -> None:
    """Of four connections two at most are held by steps; a read does not wait for them."""
    running, may_end = 0, asyncio.Event()

    async def work(_transaction: LocalTransaction) -> None:
        nonlocal running
        running += 1
        await may_end.wait()

    steps = [asyncio.create_task(local.run(f"order-{number}", work, TIMEOUT)) for number in range(6)]
    async with asyncio.timeout(10):
        while running < 2:
            await asyncio.sleep(0)
    async with engine.connect(), engine.connect():
        assert running == 2
    may_end.set()
    await asyncio.gather(*steps)
    assert running == 6


async def test_a_step_whose_connection_breaks_leaves_nothing_behind(
    local: LocalTransactions, store: Store, database: Any
) -> None:
    operation = await claimed(store, database)
    decision = decision_on(operation)

    async def work(transaction: LocalTransaction) -> None:
        await write_effect(transaction)
        await transaction.record(decision)
        await database.execute("SELECT pg_terminate_backend($1)", transaction.connection.get_server_pid())

    with pytest.raises(DatabaseUnavailable):
        await local.run("order-1", work, TIMEOUT)
    assert await effects(database) == 0
    assert not await local.landed(decided(operation, StepDone(None)).after, decision.id)
    stored = await store.load(operation.id)
    assert stored == operation
