"""How often a process looks for what was kept long enough, and what it takes then."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import cast

import pytest

from app.db.engine import AsyncEngine, connect, create
from app.db.refunds import RefundClaim, Told, add_told, take
from app.db.sagas import Sagas
from app.db.store import Store
from app.db.tables import EventStatus
from app.errors import DatabaseUnavailable
from app.saga.refund_facts import KnownRefund, RefundStanding
from app.settings import Retention
from app.worker import retention
from app.worker.retention import Sweeper, interval
from tests.builders import NOW, FixedClock, arrival_of, operation_for, purchase_saga
from tests.queued import put_in_step


@pytest.mark.parametrize(
    ("kept", "seconds"),
    [
        (Retention(), 600),
        (Retention(finished=timedelta(days=90)), 600),
        (Retention(finished=timedelta(seconds=30)), 30),
        (Retention(finished=timedelta(days=90), events=timedelta(minutes=2)), 120),
        (Retention(finished=timedelta(milliseconds=1)), 1),
    ],
)
def test_what_is_kept_for_a_short_time_is_looked_for_as_often(kept: Retention, seconds: int) -> None:
    assert interval(kept) == timedelta(seconds=seconds)


async def finished_ago(url: str, engine: AsyncEngine, kept: timedelta | None) -> int:
    """The rows that a sweep touches where an operation has finished a day ago, and each other thing came then, once."""
    await Sagas(engine, {}).store(purchase_saga())
    store = Store(url, 1, FixedClock())
    await store.ingest(arrival_of(operation_for()))
    ignored = replace(arrival_of(operation_for("pay_2")), operation=None, status=EventStatus.IGNORED)
    await store.ingest(ignored)
    await store.close()
    await take(engine, RefundClaim("psp", "pay_1", operation_for().id, 1, NOW))
    connection = await connect(url)
    refund = KnownRefund("re_1", 500, "EUR", RefundStanding.SUCCEEDED)
    await add_told(connection, [Told(0, operation_for("never_came").id, refund, NOW)])
    await connection.execute("UPDATE operations SET status = 'succeeded', next_run_at = NULL, finished_at = $1", NOW)
    await put_in_step(connection)
    await connection.close()
    later = FixedClock(NOW + timedelta(days=1))
    return await Sweeper(engine, Retention(finished=kept, events=timedelta(hours=1)), later).sweep()


@pytest.mark.parametrize(("kept", "touched"), [(None, 3), (timedelta(days=2), 3), (timedelta(hours=2), 4)])
async def test_a_sweep_takes_what_was_kept_long_enough(database_url: str, kept: timedelta | None, touched: int) -> None:
    """An event, a refund and a turn have been kept for longer than an hour; the operation stays whole where all do."""
    engine = create(database_url, 1)
    assert await finished_ago(database_url, engine, kept) == touched
    await engine.dispose()


async def test_it_sweeps_again_after_the_database_was_away(monkeypatch: pytest.MonkeyPatch) -> None:
    swept, times = asyncio.Event(), 0

    async def sweep(_sweeper: Sweeper) -> int:
        nonlocal times
        times += 1
        if times == 1:
            raise DatabaseUnavailable("away")
        swept.set()
        return 0

    monkeypatch.setattr(Sweeper, "sweep", sweep)
    monkeypatch.setattr(retention, "SHORTEST_INTERVAL", timedelta(milliseconds=1))
    short = Retention(events=timedelta(milliseconds=1))
    sweeping = asyncio.create_task(Sweeper(cast("AsyncEngine", None), short, FixedClock()).run())
    async with asyncio.timeout(10):
        await swept.wait()
    sweeping.cancel()
    await asyncio.wait({sweeping})
    assert times == 2
