"""An operator's call with an `Idempotency-Key` has one effect and one answer, in whatever process it runs."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from app.db import reads
from app.db.engine import AsyncEngine
from app.db.operator_requests import OperatorReceipt, OperatorRequests, answered_once
from app.db.sagas import Sagas
from app.db.store import Store
from app.errors import IdempotencyKeyInUse
from app.saga import advance
from app.saga.model import Operation, Transition
from app.saga.signals import CancelRequested
from tests.builders import NOW, FixedClock, arrival_of, operation_for, purchase_saga

RECEIPT = OperatorReceipt("shop", "key-1", "POST /operations/cancel", 200, {"revision": 2**70, "note": "\x00"})


@pytest.fixture
async def store(engine: AsyncEngine, database_url: str) -> AsyncIterator[Store]:
    await Sagas(engine, {}).store(purchase_saga())
    store = Store(database_url, 1, FixedClock())
    yield store
    await store.close()


async def cancel(store: Store, external_id: str, receipt: OperatorReceipt) -> bool:
    operation = await store.load(operation_for(external_id).id)
    assert operation is not None
    return await store.record(cancelled(operation), actor="api_key:shop", receipt=receipt)


def cancelled(operation: Operation) -> Transition:
    transition = advance(purchase_saga(), operation, CancelRequested(), NOW, 0.0)
    assert transition is not None
    return transition


async def test_the_answer_commits_with_its_effect(engine: AsyncEngine, store: Store) -> None:
    requests = OperatorRequests(engine)
    await store.ingest(arrival_of(operation_for("pay_1")))
    assert await requests.find("shop", "key-1") is None
    assert await cancel(store, "pay_1", RECEIPT)
    assert await requests.find("shop", "key-1") == RECEIPT
    assert await requests.find("till", "key-1") is None


async def test_an_effect_that_does_not_land_leaves_no_answer(engine: AsyncEngine, store: Store) -> None:
    await store.ingest(arrival_of(operation_for("pay_1")))
    operation = await store.load(operation_for("pay_1").id)
    assert operation is not None
    assert await store.record(cancelled(operation), actor="api_key:shop")
    assert not await store.record(cancelled(operation), actor="api_key:shop", receipt=RECEIPT)
    assert await OperatorRequests(engine).find("shop", "key-1") is None


async def test_of_two_processes_with_one_key_one_has_its_effect(
    engine: AsyncEngine, store: Store, database_url: str
) -> None:
    """The second insert waits for the first to commit; then it fails, and takes its own effect back with it."""
    other = Store(database_url, 1, FixedClock())
    for name in ("pay_1", "pay_2"):
        await store.ingest(arrival_of(operation_for(name)))

    async def call(through: Store, name: str) -> str:
        try:
            with answered_once():
                await cancel(through, name, RECEIPT)
        except IdempotencyKeyInUse:
            return "in use"
        return "done"

    assert sorted(await asyncio.gather(call(store, "pay_1"), call(other, "pay_2"))) == ["done", "in use"]
    revisions = await reads.revisions(engine, [operation_for(name).id for name in ("pay_1", "pay_2")])
    assert sorted(revision for revision, _ in revisions.values()) == [1, 2]
    await other.close()


async def test_a_key_that_was_used_does_not_fail_the_others_of_its_batch(engine: AsyncEngine, store: Store) -> None:
    names = [f"pay_{number}" for number in range(4)]
    for name in names:
        await store.ingest(arrival_of(operation_for(name)))
    await OperatorRequests(engine).keep(RECEIPT, NOW)
    receipts = [RECEIPT, *(OperatorReceipt("shop", name, "POST", 200, None) for name in names[1:])]
    ends = await asyncio.gather(
        *(cancel(store, name, receipt) for name, receipt in zip(names, receipts, strict=True)), return_exceptions=True
    )
    assert isinstance(ends[0], Exception)
    assert ends[1:] == [True, True, True]


async def test_the_answer_to_a_bulk_call_is_kept_once(engine: AsyncEngine) -> None:
    requests = OperatorRequests(engine)
    await requests.keep(RECEIPT, NOW)
    with pytest.raises(IdempotencyKeyInUse):
        await requests.keep(OperatorReceipt("shop", "key-1", "another", 409, None), NOW)
    assert await requests.find("shop", "key-1") == RECEIPT


def test_a_second_call_is_told_that_the_first_is_still_running(engine: AsyncEngine) -> None:
    requests = OperatorRequests(engine)
    with requests.running("shop", "key-1"):
        with pytest.raises(IdempotencyKeyInUse), requests.running("shop", "key-1"):
            pytest.fail("it was let in")
        with requests.running("till", "key-1"), requests.running("shop", "key-2"):
            pass
    with requests.running("shop", "key-1"):
        assert True


async def test_a_call_that_failed_can_be_made_again(engine: AsyncEngine) -> None:
    requests = OperatorRequests(engine)
    with pytest.raises(RuntimeError), requests.running("shop", "key-1"):
        raise RuntimeError
    with requests.running("shop", "key-1"):
        assert await requests.find("shop", "key-1") is None
