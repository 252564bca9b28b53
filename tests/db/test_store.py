"""The one door: who wins a race at it, and what is written when an answer is lost on the wire."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

import asyncpg
import pytest

from app.db import store as stores
from app.db.claim import Claimed, claim, nothing_begun
from app.db.engine import create
from app.db.operations import HeldLease
from app.db.sagas import Sagas
from app.db.store import Store
from app.db.tables import EventStatus
from app.db.writer import Writer
from app.errors import DatabaseUnavailable
from app.saga import Sending, prepare
from app.saga.model import Status
from tests.builders import NOW, FixedClock, arrival_of, operation_for, purchase_saga
from tests.db.claims import LEASE, claim_of, claimed, done, start_of

Result = TypeVar("Result")


async def test_a_hundred_deliveries_of_one_payment_make_one_operation(store: Store, database: Any) -> None:
    arrival = arrival_of(operation_for())
    stored = await asyncio.gather(*(store.ingest(replace(arrival)) for _ in range(100)))
    assert sorted(one.status for one in stored) == [EventStatus.ACCEPTED] + [EventStatus.DUPLICATE] * 99
    assert await database.fetchval("SELECT count(*) FROM operations") == 1
    assert await database.fetchval("SELECT deliveries FROM events") == 100
    assert await database.fetchval("SELECT count(*) FROM history") == 1


async def test_the_loser_of_a_race_between_processes_sees_the_winners_row(
    store: Store, database_url: str, clock: FixedClock, database: Any
) -> None:
    """Trap 34: insert-or-select in one statement gives the loser no row, though it exists."""
    other = Store(database_url, 1, clock)
    for number in range(20):
        arrival = arrival_of(operation_for(f"pay_{number}"))
        both = await asyncio.gather(store.ingest(arrival), other.ingest(replace(arrival)))
        assert sorted(one.status for one in both) == [EventStatus.ACCEPTED, EventStatus.DUPLICATE]
    await other.close()
    assert await database.fetchval("SELECT count(*) FROM operations") == 20


async def test_two_different_events_of_one_payment_make_one_operation(store: Store, database: Any) -> None:
    """Trap 33: the provider tells of one payment by several events, each with an id of its own."""
    first = await store.ingest(arrival_of(operation_for(), delivery_id="msg_1"))
    second = await store.ingest(arrival_of(operation_for(), delivery_id="msg_2"))
    assert (first.status, second.status) == (EventStatus.ACCEPTED, EventStatus.DUPLICATE)
    assert await database.fetchval("SELECT count(*) FROM operations") == 1
    assert await database.fetchval("SELECT count(*) FROM events") == 2


async def test_a_call_is_made_of_the_event_that_made_its_operation(store: Store) -> None:
    """A second event and a conflicting one belong to the operation too, whichever came before the claim."""
    for number, told in enumerate([operation_for(), operation_for(), operation_for(amount=2999)]):
        arrival = arrival_of(told, delivery_id=f"msg_{number}")
        await store.ingest(replace(arrival, payload=f'{{"number":{number}}}'.encode()))
    [one] = await store.claim(claim_of())
    assert one.event == b'{"number":0}'


@pytest.mark.parametrize("together", [True, False])
async def test_a_known_payment_with_another_amount_is_a_conflict_and_changes_nothing(
    store: Store, database: Any, together: bool
) -> None:
    """Trap 32: first 19.99 EUR, then 29.99 EUR for the same payment; the first stands, the second is for a human."""
    right, wrong = arrival_of(operation_for()), arrival_of(operation_for(amount=2999), delivery_id="msg_2")
    if together:
        first, second = await asyncio.gather(store.ingest(right), store.ingest(wrong))
    else:
        first, second = await store.ingest(right), await store.ingest(wrong)
    assert (first.status, second.status) == (EventStatus.ACCEPTED, EventStatus.CONFLICT)
    assert second.detail == "the payment is known with another amount: 1999, not 2999"
    assert await database.fetchval("SELECT amount FROM operations") == 1999


async def test_a_row_that_the_database_refuses_fails_alone(store: Store, database: Any) -> None:
    """Trap 41: 20 webhooks in one transaction, one of them against a constraint; the other 19 are stored."""
    good = [arrival_of(operation_for(f"pay_{number}")) for number in range(19)]
    bad = arrival_of(operation_for("bad", amount=-1))
    results = await asyncio.gather(*(store.ingest(one) for one in [*good[:9], bad, *good[9:]]), return_exceptions=True)
    assert isinstance(results[9], asyncpg.CheckViolationError)
    assert [one.status for one in results if not isinstance(one, BaseException)] == [EventStatus.ACCEPTED] * 19
    assert await database.fetchval("SELECT count(*) FROM operations") == 19


async def test_a_claim_takes_its_batch_and_no_lock_more(store: Store, database: Any, database_url: str) -> None:
    """Traps 43 and 45: LIMIT ignored on a nested loop, and advisory locks taken on every row that was looked at."""
    await asyncio.gather(*(store.ingest(arrival_of(operation_for(f"pay_{number}"))) for number in range(100)))
    other = await asyncpg.connect(database_url)
    await database.execute("SET enable_hashjoin = off")
    async with database.transaction():
        taken = await claim(database, claim_of(5), nothing_begun, resent=False)
        assert len(taken) == 5
        free = await other.fetch("SELECT id FROM operations WHERE status = 'pending' FOR UPDATE SKIP LOCKED")
        advisory = await other.fetchval(
            "SELECT count(*) FROM pg_locks JOIN pg_database AS d ON d.oid = database"
            " WHERE locktype = 'advisory' AND datname = current_database()"
        )
    await other.close()
    assert len(free) == 95
    assert advisory == 0


async def test_eight_workers_take_each_operation_once(store: Store, database_url: str, clock: FixedClock) -> None:
    await asyncio.gather(*(store.ingest(arrival_of(operation_for(f"pay_{number}"))) for number in range(200)))
    others = [Store(database_url, 1, clock) for _ in range(8)]

    async def take_all(one: Store, worker: str) -> list[Claimed]:
        taken: list[Claimed] = []
        while batch := await one.claim(claim_of(7, worker)):
            taken += batch
        return taken

    taken = await asyncio.gather(*(take_all(one, f"worker-{place}") for place, one in enumerate(others)))
    for one in others:
        await one.close()
    ids = [claimed.operation.id for batch in taken for claimed in batch]
    assert len(ids) == len(set(ids)) == 200


async def test_a_claim_counts_the_attempt_and_renews_lease_and_revision(store: Store, database: Any) -> None:
    """Trap 28: counted at the claim, so that a payload that kills its process is counted as well."""
    operation = await claimed(store)
    assert (operation.status, operation.attempt, operation.lease, operation.revision) == (Status.PROCESSING, 1, 1, 2)
    assert (operation.failure_count, operation.complete_by, operation.next_run_at) == (0, NOW + LEASE, None)
    history = await database.fetch("SELECT revision, from_status, to_status, actor FROM history ORDER BY revision")
    assert [tuple(row) for row in history] == [
        (1, None, "pending", "source:shop"),
        (2, "pending", "processing", "worker-1"),
    ]


class LosesTheFirstAnswer(Writer):
    """A writer whose first commit lands while the answer to it is lost on the wire."""

    lost = False

    async def _once(
        self, work: Callable[["asyncpg.Connection[Any]", bool], Awaitable[Result]], *, resent: bool
    ) -> Result:
        result = await super()._once(work, resent=resent)
        if not self.lost:
            self.lost = True
            raise DatabaseUnavailable("lost")
        return result


@pytest.fixture
async def lossy(database_url: str, clock: FixedClock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Store]:
    """A second store on the same database, each of whose writers loses its first answer."""
    monkeypatch.setattr(stores, "Writer", LosesTheFirstAnswer)
    store = Store(database_url, 1, clock)
    yield store
    await store.close()


async def test_a_commit_whose_answer_was_lost_is_found_and_not_made_twice(
    store: Store, lossy: Store, database: Any
) -> None:
    """Trap 9: connection lost during COMMIT; a blind redo writes twice, giving up loses what was answered."""
    found = await lossy.ingest(arrival_of(operation_for()))
    assert found.status is EventStatus.ACCEPTED
    [one] = await lossy.claim(claim_of())
    sending = prepare(purchase_saga(), one.operation, NOW)
    assert isinstance(sending, Sending)
    assert await lossy.begin(sending.operation, start_of(sending, one.operation))
    assert await lossy.record(done(sending.operation), actor="worker-1")
    stored = await store.load(one.operation.id)
    assert stored is not None
    assert (stored.status, stored.revision, stored.attempt) == (Status.SUCCEEDED, 3, 0)
    assert [row["revision"] for row in await database.fetch("SELECT revision FROM history ORDER BY 1")] == [1, 2, 3]
    assert await database.fetchval("SELECT count(*) FROM attempts") == 1


async def test_a_connection_that_is_killed_in_the_middle_is_made_again(store: Store, database: Any) -> None:
    """A failover: what was under way is sent again on a new connection, once."""
    await store.ingest(arrival_of(operation_for("pay_1")))
    await database.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE pid <> pg_backend_pid() AND datname = current_database()"
    )
    assert (await store.ingest(arrival_of(operation_for("pay_2")))).status is EventStatus.ACCEPTED
    assert await database.fetchval("SELECT count(*) FROM operations") == 2


async def test_a_deadlocks_victim_is_sent_again(store: Store, database: Any) -> None:
    """Trap 52: another session locks the rows in the other order; whoever loses, both decisions land."""
    first, second = sorted(
        [await claimed(store, "pay_1"), await claimed(store, "pay_2")], key=lambda operation: operation.id
    )
    await database.execute("SET deadlock_timeout = '10s'")
    lock = "SELECT 1 FROM operations WHERE id = $1 FOR UPDATE"
    async with database.transaction():
        await database.execute(lock, second.id)
        recording = [asyncio.create_task(store.record(done(one), actor="worker-1")) for one in (first, second)]
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        while not await database.fetchval(waiting):
            await asyncio.sleep(0)
        await database.execute(lock, first.id)
    assert await asyncio.gather(*recording) == [True, True]


async def test_operations_of_several_buckets_are_written_side_by_side(database_url: str, clock: FixedClock) -> None:
    engine = create(database_url, 1)
    await Sagas(engine, {}).store(purchase_saga())
    await engine.dispose()
    store = Store(database_url, 4, clock)
    arrivals = [arrival_of(operation_for(f"pay_{number}"), buckets=4) for number in range(40)]
    found = await asyncio.gather(*(store.ingest(arrival) for arrival in arrivals))
    assert {one.status for one in found} == {EventStatus.ACCEPTED}
    taken = [one for bucket in range(4) for one in await store.claim(replace(claim_of(40), bucket=bucket))]
    assert len(taken) == 40
    leases = [HeldLease.of(one.operation) for one in taken]
    assert await store.heartbeat(leases, NOW + LEASE) == dict.fromkeys(leases, True)
    landed = await asyncio.gather(*(store.record(done(one.operation), actor="worker-1") for one in taken))
    await store.close()
    assert all(landed)


async def test_what_is_answered_is_on_disk_also_where_the_server_would_not_wait_for_it(
    database: Any, database_url: str
) -> None:
    """Trap 35: an acknowledgement that a power cut takes back. The level that our transactions commit at is shown."""
    await database.execute(
        f"ALTER DATABASE {database_url.split('@/')[1].split('?', maxsplit=1)[0]} SET synchronous_commit = off"
    )
    writer = Writer(database_url)

    async def level(connection: "asyncpg.Connection[Any]", _resent: bool) -> str:
        return str(await connection.fetchval("SHOW synchronous_commit"))

    assert await writer.transaction(level) == "on"
    await writer.close()
