"""Reconciliation on a schedule: when it is due, by one process at a time, and what it says of what it found."""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.db.engine import connect
from app.db.reconciliations import Turns
from app.errors import DatabaseUnavailable
from app.sandbox.desk import Hold
from app.settings import Reconcile
from app.worker import reconciliations
from app.worker.reconciliations import RETRY_INTERVAL, Reconciliations
from tests.fakes.server import Fault, Kind
from tests.reconcile.books import SHOP, Books, opened

SCHEDULE = Reconcile(every=timedelta(hours=6), since=timedelta(hours=24))
SOURCE = replace(SHOP, reconcile=SCHEDULE)
LEASE = timedelta(minutes=5)


@pytest.fixture
async def books(database_url: str) -> AsyncIterator[Books]:
    async with opened(database_url) as books:
        yield books


@pytest.fixture
def duty(books: Books) -> Reconciliations:
    return duty_of(books)


def duty_of(books: Books) -> Reconciliations:
    """The duty of one process."""
    return Reconciliations(
        books.reconciler, Turns(books.engine, LEASE), [SOURCE, replace(SHOP, name="club")], books.clock
    )


async def row(url: str) -> dict[str, Any]:
    connection = await connect(url)
    [found] = await connection.fetch("SELECT * FROM reconciliations")
    await connection.close()
    return dict(found)


async def test_it_is_done_when_it_is_due_and_its_result_is_logged_and_counted(
    books: Books, duty: Reconciliations, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await books.told(1)
    lost = books.paid(2)
    assert await duty.look(SOURCE, SCHEDULE)
    [told] = [vars(record) for record in caplog.records if record.getMessage() == "reconciled"]
    assert (told["source"], told["payments"], told["missing"], told["differences"]) == ("shop", 2, 1, 1)
    [found] = [vars(record) for record in caplog.records if record.getMessage() == "reconciliation_found"]
    assert (found["difference"], found["payment_id"]) == ("missing", lost.id)
    kept = await row(database_url)
    assert (kept["payments"], kept["missing"], kept["differences"]) == (2, 1, 1)
    books.clock.advance(SCHEDULE.every - timedelta(minutes=1))
    assert not await duty.look(SOURCE, SCHEDULE)
    books.clock.advance(timedelta(minutes=1))
    assert await duty.look(SOURCE, SCHEDULE)
    assert (await row(database_url))["missing"] == 0


async def test_two_processes_never_do_it_at_once(books: Books, duty: Reconciliations) -> None:
    books.paid()
    hold = Hold()
    books.fake.script(Kind.PAYMENTS, Fault(acts=True, hold=hold))
    first = asyncio.create_task(duty.look(SOURCE, SCHEDULE))
    async with asyncio.timeout(10):
        await hold.arrived.wait()
    assert not await duty_of(books).look(SOURCE, SCHEDULE)
    hold.released.set()
    assert await first
    assert not await duty_of(books).look(SOURCE, SCHEDULE)


async def test_one_that_stood_still_for_too_long_leaves_it_to_the_other(
    books: Books, duty: Reconciliations, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(60):
        books.paid(number)
    hold = Hold()
    books.fake.script(Kind.PAYMENTS, Fault(acts=True, hold=hold))
    first = asyncio.create_task(duty.look(SOURCE, SCHEDULE))
    async with asyncio.timeout(10):
        await hold.arrived.wait()
    books.clock.advance(LEASE + timedelta(seconds=1))
    assert await duty_of(books).look(SOURCE, SCHEDULE)
    asked = len(books.fake.asked)
    hold.released.set()
    assert await first
    assert len(books.fake.asked) == asked  # it asked for no second page
    assert [record.getMessage() for record in caplog.records if record.name == reconciliations.__name__][-1] == (
        "reconciliation_left"
    )


async def test_a_provider_that_refuses_is_asked_again_soon(
    books: Books, duty: Reconciliations, caplog: pytest.LogCaptureFixture
) -> None:
    books.paid()
    books.fake.script(Kind.PAYMENTS, Fault(403))
    assert await duty.look(SOURCE, SCHEDULE)
    [record] = [record for record in caplog.records if record.getMessage() == "reconciliation_failed"]
    assert "psp answered 403" in vars(record)["error"]
    books.clock.advance(RETRY_INTERVAL - timedelta(seconds=1))
    assert not await duty.look(SOURCE, SCHEDULE)
    books.clock.advance(timedelta(seconds=1))
    assert await duty.look(SOURCE, SCHEDULE)
    assert len((await books.all())["operations"]) == 1


async def test_it_looks_again_after_the_database_was_away(
    books: Books, duty: Reconciliations, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, times = asyncio.Event(), 0
    look = duty.look

    async def sometimes(*given: Any) -> bool:
        nonlocal times
        times += 1
        if times == 1:
            raise DatabaseUnavailable("away")
        taken = await look(*given)
        done.set()
        return taken

    monkeypatch.setattr(duty, "look", sometimes)
    monkeypatch.setattr(reconciliations, "LOOK_INTERVAL", timedelta(milliseconds=1))
    books.paid()
    running = asyncio.create_task(duty.run())
    async with asyncio.timeout(10):
        await done.wait()
    running.cancel()
    await asyncio.wait({running})
    assert len((await books.all())["operations"]) == 1
