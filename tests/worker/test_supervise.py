"""Leases that have run out are taken back, whatever is wrong with one of the operations."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import uuid4

import pytest

from app.db.claim import Claim
from app.db.engine import AsyncEngine, create
from app.db.operations import Expired
from app.db.sagas import Sagas
from app.db.store import Store
from app.errors import DatabaseUnavailable, NotFound
from app.saga.definition import Saga, hash_of
from app.saga.model import Operation, Status
from app.worker import supervise
from app.worker.supervise import Supervisor
from tests.builders import FixedClock, arrival_of, operation_for, purchase_saga
from tests.worker.stage import LEASE, SaidWakeup, as_wakeup

OTHER = purchase_saga(name="other")


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create(database_url, 1)
    yield engine
    await engine.dispose()


@pytest.fixture
async def store(database_url: str, engine: AsyncEngine, clock: FixedClock) -> AsyncIterator[Store]:
    for saga in (purchase_saga(), OTHER):
        await Sagas(engine, {}).store(saga)
    store = Store(database_url, 1, clock)
    yield store
    await store.close()


async def claimed(store: Store, clock: FixedClock, *payments: tuple[str, Saga]) -> list[Operation]:
    """Operations whose worker has just claimed them."""
    for external_id, saga in payments:
        await store.ingest(arrival_of(operation_for(external_id, saga=saga)))
    now = clock.now()
    return [one.operation for one in await store.claim(Claim(uuid4(), 0, 10, "worker-1", now, now + LEASE))]


class Broken(Sagas):
    """Sagas of which one cannot be had."""

    async def get(self, saga_hash: str) -> Saga:
        if saga_hash == hash_of(OTHER):
            raise NotFound(saga_hash)
        return await super().get(saga_hash)


async def test_an_operation_that_cannot_be_decided_on_keeps_no_other_from_being_taken_back(
    store: Store,
    engine: AsyncEngine,
    clock: FixedClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Trap 28: one poisoned operation is told of in the log, at the head of each look; those behind it are taken back."""
    monkeypatch.setattr(supervise, "MOST_AT_ONCE", 1)
    all_of_them = await claimed(store, clock, ("pay_1", OTHER), ("pay_2", purchase_saga()), ("pay_3", purchase_saga()))
    wakeup = SaidWakeup()
    supervisor = Supervisor(store, Broken(engine, {}), clock, as_wakeup(wakeup), "worker-2")
    assert await supervisor.look() == 0
    clock.advance(LEASE)
    assert await supervisor.look() == 2
    assert wakeup.signals == 1
    statuses = {one.external_id: stored.status for one in all_of_them if (stored := await store.load(one.id))}
    assert statuses == {"pay_1": Status.PROCESSING, "pay_2": Status.ERROR, "pay_3": Status.ERROR}
    assert "supervise_failed" in caplog.text
    assert await supervisor.look() == 0
    assert wakeup.signals == 1


async def test_of_two_supervisors_that_look_at_once_one_takes_each_back(
    store: Store, engine: AsyncEngine, database_url: str, clock: FixedClock
) -> None:
    """Trap 27: both have read the same list; what the other has done meanwhile is not done again."""
    await claimed(store, clock, *((f"pay_{number}", purchase_saga()) for number in range(10)))
    clock.advance(LEASE)
    other = Store(database_url, 1, clock)
    both = [
        Supervisor(each, Sagas(engine, {}), clock, as_wakeup(SaidWakeup()), name)
        for each, name in ((store, "worker-1"), (other, "worker-2"))
    ]
    assert sum(await asyncio.gather(*(one.look() for one in both))) == 10
    await other.close()


class Away(Store):
    """A store whose database is away at first."""

    looks = 0

    async def expired(self, bucket: int, most: int, after: Expired | None = None) -> Expired:
        self.looks += 1
        if self.looks == 1:
            raise DatabaseUnavailable("away")
        return await super().expired(bucket, most, after)


async def test_it_looks_again_after_the_database_was_away(
    engine: AsyncEngine, store: Store, database_url: str, clock: FixedClock
) -> None:
    """Trap 31: a supervisor that has died with one error would never take anything back again."""
    [operation] = await claimed(store, clock, ("pay_1", purchase_saga()))
    clock.advance(LEASE)
    away, wakeup = Away(database_url, 1, clock), SaidWakeup()
    supervisor = Supervisor(away, Sagas(engine, {}), clock, as_wakeup(wakeup), "worker-2")
    running = asyncio.create_task(supervisor.run(timedelta(milliseconds=5)))
    async with asyncio.timeout(10):
        await wakeup.due.wait()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    await away.close()
    taken_back = await store.load(operation.id)
    assert taken_back is not None
    assert taken_back.status is Status.ERROR
