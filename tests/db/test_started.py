"""An operation that is taken by the transaction which stores it: as the long way would have left it, and told once."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from app.db import reception
from app.db.claim import Claim
from app.db.deliveries import Stored
from app.db.engine import create
from app.db.operations import HeldLease
from app.db.sagas import Sagas
from app.db.store import Store
from app.db.tables import EventStatus
from app.errors import DatabaseUnavailable
from app.saga import Sending, prepare
from app.saga.model import Status
from tests.builders import NOW, FixedClock, arrival_of, operation_for, purchase_saga
from tests.db.claims import LEASE, done, start_of
from tests.db.losing import Losing
from tests.db.starts import CLAIMED_AT, started


async def settle() -> None:
    """Lets those be told who are told by the loop."""
    for _ in range(3):
        await asyncio.sleep(0)


async def rows(database: Any, table: str, external_id: str) -> list[dict[str, Any]]:
    """An operation's rows of a table, without what no two operations share."""
    own = "serial" if table == "operations" else "operation_serial"
    query = f"SELECT t.* FROM {table} AS t JOIN operations AS o ON o.serial = t.{own} WHERE o.external_id = $1 ORDER BY 1, 2, 3"
    found = [dict(row) for row in await database.fetch(query, external_id)]
    strange = ("id", "serial", "operation_serial", "external_id", "transition", "idempotency_key")
    return [{name: value for name, value in row.items() if name not in strange} for row in found]


async def test_what_is_taken_as_it_is_stored_stands_as_if_it_had_been_claimed_and_begun(
    store: Store, database: Any
) -> None:
    arrival, start = started(operation_for("pay_1"))
    assert (await store.ingest(arrival)).status is EventStatus.ACCEPTED
    await settle()
    assert start.told == [True]
    await store.ingest(arrival_of(operation_for("pay_2")))
    [one] = await store.claim(Claim(uuid4(), 0, 10, "worker-1", CLAIMED_AT, CLAIMED_AT + LEASE))
    sending = prepare(purchase_saga(), one.operation, CLAIMED_AT)
    assert isinstance(sending, Sending)
    assert await store.begin(sending.operation, replace(start_of(sending, sending.operation), at=CLAIMED_AT))
    for table in ("operations", "queue", "history", "attempts"):
        assert await rows(database, table, "pay_1") == await rows(database, table, "pay_2"), table
    assert len(await rows(database, "history", "pay_1")) == 2
    assert len(await rows(database, "attempts", "pay_1")) == 1
    assert await store.load(start.begun.operation.id) == start.begun.operation


async def test_what_is_taken_as_it_is_stored_can_be_recorded_on_and_is_claimed_by_nobody_else(store: Store) -> None:
    arrival, start = started(operation_for())
    await store.ingest(arrival)
    later = NOW + timedelta(hours=1)
    assert await store.claim(Claim(uuid4(), 0, 10, "worker-2", later, later + LEASE)) == []
    held = HeldLease.of(start.begun.operation)
    assert await store.heartbeat([held], later) == {held: True}
    assert await store.record(done(start.begun.operation), actor="worker-1")


async def test_its_lease_runs_out_like_any_other(store: Store, clock: FixedClock) -> None:
    arrival, start = started(operation_for())
    await store.ingest(arrival)
    assert (await store.expired(0, 10)).operations == []
    clock.advance(LEASE * 2)
    assert (await store.expired(0, 10)).operations == [start.begun.operation]


async def test_creation_and_claim_are_one_transition_of_the_history(store: Store, database: Any) -> None:
    arrival, start = started(operation_for())
    await store.ingest(arrival)
    history = await database.fetch("SELECT transition FROM history ORDER BY revision")
    by_operation = await database.fetchval("SELECT transition FROM operations")
    assert [row["transition"] for row in history] == [by_operation, by_operation]
    assert start.told == [True]


@pytest.mark.parametrize("together", [True, False])
async def test_a_second_delivery_of_the_payment_starts_nothing(store: Store, database: Any, *, together: bool) -> None:
    """Another event of it, the same one again, and one that says something else."""
    arrival, start = started(operation_for())
    others = [
        started(operation_for(), delivery_id="msg_2"),
        started(operation_for()),
        started(operation_for(amount=1), delivery_id="msg_3"),
    ]
    if together:
        stored = await asyncio.gather(*(store.ingest(one) for one, _ in [(arrival, start), *others]))
    else:
        stored = [await store.ingest(one) for one, _ in [(arrival, start), *others]]
    await settle()
    assert [one.status for one in stored] == ["accepted", "duplicate", "duplicate", "conflict"]
    assert start.told == [True]
    assert [other.told for _, other in others] == [[False]] * 3
    assert await store.load(start.begun.operation.id) == start.begun.operation
    assert await database.fetchval("SELECT count(*) FROM history") == 2
    assert await database.fetchval("SELECT count(*) FROM attempts") == 1


@pytest.mark.parametrize("together", [True, False])
async def test_where_the_first_of_two_has_no_start_the_second_does_not_start_it(
    store: Store, database: Any, *, together: bool
) -> None:
    arrival, start = started(operation_for(), delivery_id="msg_2")
    both = (arrival_of(operation_for()), arrival)
    if together:
        first, second = await asyncio.gather(*(store.ingest(one) for one in both))
    else:
        first, second = [await store.ingest(one) for one in both]
    await settle()
    assert (first.status, second.status, start.told) == ("accepted", "duplicate", [False])
    row = await database.fetchrow("SELECT status, revision, lease, locked_by FROM operations")
    assert tuple(row) == ("pending", 1, 0, None)
    assert await database.fetchval("SELECT count(*) FROM attempts") == 0


async def test_of_two_processes_that_are_told_at_once_one_starts_it(
    store: Store, database_url: str, clock: FixedClock, database: Any
) -> None:
    other = Store(database_url, 1, clock)
    for number in range(10):
        both = [started(operation_for(f"pay_{number}")) for _ in range(2)]
        await asyncio.gather(store.ingest(both[0][0]), other.ingest(both[1][0]))
        await settle()
        assert sorted(told for _, start in both for told in start.told) == [False, True]
    await other.close()
    assert await database.fetchval("SELECT count(*) FROM attempts") == 10


async def test_several_that_came_together_are_told_one_by_one(store: Store) -> None:
    """As of a batch: a payment, something that is none, a known payment, and another one."""
    await store.ingest(arrival_of(operation_for("pay_2"), delivery_id="msg_0"))
    first, start = started(operation_for("pay_1"))
    known, not_started = started(operation_for("pay_2"))
    last, late = started(operation_for("pay_3"))
    nothing = replace(arrival_of(operation_for("x")), id=uuid4(), status=EventStatus.IGNORED, operation=None)
    stored = await store.ingest_all([first, nothing, known, last])
    await settle()
    assert [one.status for one in stored] == ["accepted", "ignored", "duplicate", "accepted"]
    assert (start.told, not_started.told, late.told) == ([True], [False], [True])


async def test_a_poisoned_neighbour_keeps_nobody_from_starting(store: Store, database: Any) -> None:
    """Trap 41: the row that is refused starts nothing; those beside it do, each once."""
    many = [started(operation_for(f"pay_{number}")) for number in range(5)]
    poisoned, bad = many[2]
    many[2] = (replace(poisoned, event_type="a\x00b"), bad)
    found = await asyncio.gather(*(store.ingest(one) for one, _ in many), return_exceptions=True)
    await settle()
    assert [isinstance(one, Stored) for one in found] == [True, True, False, True, True]
    assert [start.told for _, start in many] == [[True], [True], [False], [True], [True]]
    assert await database.fetchval("SELECT count(*) FROM attempts") == 4
    assert await database.fetchval("SELECT count(*) FROM history") == 8


async def test_what_is_known_and_cannot_be_written_keeps_nobody_beside_it_from_starting(store: Store) -> None:
    """The new one is on disk, under a lease: told no, it would wait for the lease's end and count as crashed."""
    await store.ingest(arrival_of(operation_for("pay_0"), delivery_id="msg_0"))
    new, start = started(operation_for("pay_1"))
    known, not_started = started(operation_for("pay_0"), delivery_id="msg_2")
    broken = replace(known, event_type="a\x00b")
    filler = arrival_of(operation_for("pay_2"))  # is written alone; the others come meanwhile, and are one batch
    found = await asyncio.gather(*(store.ingest(one) for one in (filler, broken, new)), return_exceptions=True)
    await settle()
    assert [isinstance(one, Stored) for one in found] == [True, False, True]
    assert (start.told, not_started.told) == ([True], [False])


async def test_a_start_whose_commit_was_lost_on_the_wire_is_told_yes_once(
    losing: type[Losing], losing_store: Store, database: Any
) -> None:
    """Trap 9: the commit has landed, its answer has not; sent again, it finds that the operation is its own."""
    arrival, start = started(operation_for())
    losing.losing = 2
    assert (await losing_store.ingest(arrival)).status is EventStatus.ACCEPTED
    await settle()
    assert (losing.losing, start.told) == (0, [True])
    assert await losing_store.load(start.begun.operation.id) == start.begun.operation
    assert await database.fetchval("SELECT count(*) FROM history") == 2
    assert await database.fetchval("SELECT count(*) FROM attempts") == 1
    again, other = started(operation_for(), delivery_id="msg_2")
    losing.losing = 1
    assert (await losing_store.ingest(again)).status is EventStatus.DUPLICATE
    await settle()
    assert other.told == [False]


async def test_one_who_gave_up_starts_nothing_though_it_is_stored_later(
    store: Store, database: Any, database_url: str, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sender has heard 503. What is stored after that lies under its lease, on record and never sent."""
    monkeypatch.setattr(reception, "ACKNOWLEDGE_WITHIN", 0.05)
    impatient = Store(database_url, 1, clock)
    arrival, start = started(operation_for())
    async with database.transaction():
        await database.execute("LOCK TABLE events IN SHARE MODE")
        with pytest.raises(DatabaseUnavailable, match="in time"):
            await impatient.ingest(arrival)
        await settle()
        assert start.told == [False]
    await impatient.close()
    assert start.told == [False]
    assert await store.load(start.begun.operation.id) == start.begun.operation
    again, other = started(operation_for())
    assert (await store.ingest(again)).status is EventStatus.DUPLICATE
    await settle()
    assert other.told == [False]


async def test_a_store_that_takes_no_more_tells_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store._reception._new, "_most_waiting", 0)
    arrival, start = started(operation_for())
    with pytest.raises(DatabaseUnavailable, match="too much"):
        await store.ingest(arrival)
    assert start.told == [False]


async def test_a_caller_that_is_cancelled_does_not_keep_its_operation_from_starting(
    store: Store, database: Any
) -> None:
    """Trap 42: it is stored all the same, under our lease: nobody else would call before that ends."""
    arrival, start = started(operation_for())
    async with database.transaction():
        await database.execute("LOCK TABLE events IN SHARE MODE")
        calling = asyncio.create_task(store.ingest(arrival))
        await settle()
        calling.cancel()
        await asyncio.wait({calling})
        assert calling.cancelled()
    assert (await store.ingest(arrival_of(operation_for("pay_2")))).status is EventStatus.ACCEPTED
    await settle()
    assert start.told == [True]


async def test_a_database_that_stays_away_is_told_to_the_start(
    clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = Store("postgresql://nobody@127.0.0.1:1/none", 1, clock)
    monkeypatch.setattr(away._writers["ingest"], "_resend_for", 0.01)
    arrival, start = started(operation_for())
    with pytest.raises(DatabaseUnavailable):
        await away.ingest(arrival)
    await settle()
    assert start.told == [False]
    await away.close()


async def test_with_several_buckets_each_is_started_in_its_own(
    database_url: str, clock: FixedClock, database: Any
) -> None:
    engine = create(database_url, 1)
    await Sagas(engine, {}).store(purchase_saga())
    await engine.dispose()
    wide_store = Store(database_url, 4, clock)
    many = [started(operation_for(f"pay_{number}"), buckets=4) for number in range(12)]
    stored = await wide_store.ingest_all([one for one, _ in many])
    await settle()
    assert {one.status for one in stored} == {EventStatus.ACCEPTED}
    assert [start.told for _, start in many] == [[True]] * 12
    astray = (
        "SELECT count(*) FROM {} AS t JOIN operations AS o ON o.serial = t.operation_serial WHERE o.bucket <> t.bucket"
    )
    for table in ("history", "attempts", "queue", "events"):
        assert await database.fetchval(astray.format(table)) == 0, table
    assert await database.fetchval("SELECT count(DISTINCT bucket) FROM operations") == 4
    again = [started(operation_for(f"pay_{number}"), buckets=4, delivery_id="msg_2") for number in range(12)]
    assert {one.status for one in await wide_store.ingest_all([one for one, _ in again])} == {EventStatus.DUPLICATE}
    await settle()
    assert [start.told for _, start in again] == [[False]] * 12
    assert await database.fetchval("SELECT count(*) FROM operations WHERE status = $1", Status.PROCESSING) == 12
    await wide_store.close()
