"""Plans of what a worker and an intake ask all day, at 100,000 operations that have finished and as many due later.

Each is explained as it is prepared: with the plan that fits all parameters, which PostgreSQL takes after some calls.
"""

import asyncio
import hashlib
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid4

import pytest

from app.db import claim, decisions, deliveries, ingest, journal, operations
from app.db.decisions import Decision
from app.db.engine import connect, create
from app.db.journal import AttemptEnd
from app.db.sagas import Sagas
from app.saga.definition import hash_of
from app.saga.model import Outcome, Status, Transition
from tests.builders import NOW, operation_for, purchase_saga
from tests.db.plans import indexes, nodes, plan_of, touched
from tests.db.starts import begun_of, started
from tests.postgres import TEMPLATE, Databases

Result = TypeVar("Result")

COUNT = 100_000
BATCH = 50
WAYS = 12  # how often a statement may look at each row of its batch, for all that it writes of it
LEASE = timedelta(seconds=30)
LATER = NOW + timedelta(days=1)
CLAIMED_BY = UUID(hashlib.md5(b"claim", usedforsecurity=False).hexdigest())

# Half have finished and half are due tomorrow, but for some hundreds: due now, claimed, and claimed by one long ago.
OPERATIONS = """
INSERT INTO operations (bucket, id, serial, source, external_id, order_id, amount, currency, saga, saga_hash, phase,
                        status, step, action, attempt, revision, lease, next_run_at, complete_by, leased_until,
                        locked_by, deadline, steps, transition, created_at, updated_at, finished_at)
SELECT 0, md5(n::text)::uuid, lpad(to_hex(n), 32, '0')::uuid, 'shop', 'pay_' || n, 'order-' || n, 1999, 'EUR', 'purchase', $2,
       'purchase', s.status, 'purchase', 'do', 1, 3, 1,
       CASE s.status WHEN 'pending' THEN $1::timestamptz - interval '1 s' * (n % 60)
                     WHEN 'error' THEN $3::timestamptz END,
       s.ends, s.ends, CASE WHEN s.status = 'processing' THEN 'worker-1' END, $3,
       '[{"name":"payment","status":"done"},{"name":"purchase","status":"todo"}]', md5('claim')::uuid,
       $1::timestamptz - interval '1 day', $1::timestamptz, CASE WHEN s.status = 'succeeded' THEN $1::timestamptz END
  FROM generate_series(1, $4::int) AS n,
       LATERAL (SELECT CASE WHEN n % 500 = 0 THEN 'pending' WHEN n % 500 IN (1, 2) THEN 'processing'
                            WHEN n % 2 = 0 THEN 'error' ELSE 'succeeded' END AS status,
                       CASE n % 500 WHEN 1 THEN $1::timestamptz + interval '30 s'
                                    WHEN 2 THEN $1::timestamptz - interval '1 hour' END AS ends) AS s
"""
EVENTS = """
INSERT INTO events (bucket, id, source, external_id, deliveries, status, operation_serial, received_at, payload)
SELECT 0, md5('event' || substr(external_id, 5))::uuid, source, external_id, 1, 'accepted', serial, created_at, '{}'::bytea FROM operations
"""
QUEUE = """
INSERT INTO queue (bucket, operation_serial, next_run_at, complete_by)
SELECT 0, serial, next_run_at, complete_by FROM operations WHERE status <> 'succeeded'
"""
HISTORY = """
INSERT INTO history (bucket, operation_serial, revision, transition, from_phase, from_status, to_phase, to_status, cause,
                     actor, at)
SELECT 0, serial, 3, transition, 'purchase', 'pending', 'purchase', 'processing', 'claimed', 'worker-1', updated_at
  FROM operations
"""


async def fill(url: str) -> None:
    engine = create(url, 1)
    await Sagas(engine, {}).store(purchase_saga())
    await engine.dispose()
    connection = await connect(url, command_timeout=None)
    try:
        await connection.execute(OPERATIONS, NOW, hash_of(purchase_saga()), LATER, COUNT)
        await connection.execute(EVENTS)
        await connection.execute(HISTORY)
        await connection.execute(QUEUE)
        for table in ("operations", "events", "history", "queue"):
            await connection.execute(f"VACUUM ANALYZE {table}")
    finally:
        await connection.close()


@pytest.fixture(scope="module")
def busy_url(databases: Databases) -> Iterator[str]:
    """A database of a busy service, made once for all tests here; each of them rolls back what it does."""
    name = databases.create(TEMPLATE)
    run(fill(databases.url(name)))
    yield databases.url(name)
    databases.drop(name)


def run(work: Coroutine[Any, Any, Result]) -> Result:
    with asyncio.Runner() as runner:
        return runner.run(work)


async def due(url: str) -> list[UUID]:
    """The serials of what a claim would lock."""
    connection = await connect(url)
    try:
        return sorted(row["serial"] for row in await connection.fetch(claim.DUE, 0, NOW, BATCH))
    finally:
        await connection.close()


def ids_of(numbers: Sequence[int], what: str = "") -> list[UUID]:
    """The ids of operations, or of their events, by their numbers."""
    return [UUID(hashlib.md5(f"{what}{n}".encode(), usedforsecurity=False).hexdigest()) for n in numbers]


def changed(plan: dict[str, Any]) -> int:
    """Rows that a plan has changed, which an update gives back."""
    return int(plan["Actual Rows"])


CLAIMED_NOW = range(1, COUNT, 500)  # 200 of them
SOME = ids_of(range(1, COUNT, COUNT // BATCH))
SOME_CLAIMED = ids_of(CLAIMED_NOW[:BATCH])
THEIR_SERIALS = [UUID(int=n) for n in CLAIMED_NOW[:BATCH]]


def succeeding(id_: UUID, serial: UUID) -> tuple[Decision, Transition]:
    """The decision that an operation of those that are claimed has succeeded, with the end of its call."""
    before = replace(
        operation_for(now=NOW), id=id_, serial=serial, status=Status.PROCESSING, revision=3, lease=1, next_run_at=None
    )
    done = Transition.of(before, replace(before, status=Status.SUCCEEDED, finished_at=NOW), "step_done")
    end = AttemptEnd(1, Outcome.DONE, {"status": 200, "body": {}}, NOW)
    return Decision(uuid4(), id_, serial, NOW, done, "worker-1", attempt=end), done


SUCCEEDING = decisions.rows_of([succeeding(*one) for one in zip(SOME_CLAIMED, THEIR_SERIALS, strict=True)])
NEW = ingest.rows_of([started(operation_for(f"new_{number}"))[0] for number in range(BATCH)])
BEGINNING = [(serial, 3, 1, "[]", NOW, "purchase", "do", 1, "key", "{}", NOW) for serial in THEIR_SERIALS]


def test_a_claim_locks_its_batch_alone_whatever_has_finished_and_whatever_is_due_later(busy_url: str) -> None:
    """Trap 45: each row is locked once, in the order of the queue, by a scan that the LIMIT bounds."""
    plan = run(plan_of(busy_url, claim.DUE, 0, NOW, BATCH))
    assert changed(plan) == BATCH
    assert indexes(plan) == {"queue_due", "operations_serial", "events_accepted_once", "external_refunds_pkey"}
    assert touched(plan) == 4 * BATCH  # each by its place in the queue, read twice, with its event


def test_what_a_claim_has_locked_it_takes_by_its_keys(busy_url: str) -> None:
    found = asyncio.run(due(busy_url))
    taking = claim.rows_of([(serial, "pending", begun_of(replace(operation_for(), serial=serial))) for serial in found])
    plan = run(plan_of(busy_url, claim.TAKE, 0, NOW + LEASE, "worker-1", CLAIMED_BY, NOW, taking))
    assert indexes(plan) == {"operations_serial", "queue_pkey"}
    assert touched(plan) <= WAYS * len(found)


def test_a_claim_that_finds_nothing_due_reads_nothing(busy_url: str) -> None:
    """A hundred thousand that have finished or are due tomorrow cost an idle worker's poll nothing."""
    plan = run(plan_of(busy_url, claim.DUE, 0, NOW - timedelta(days=2), BATCH))
    assert "queue_due" in indexes(plan)
    assert touched(plan) == 0


def test_a_claim_takes_all_that_is_due_and_no_more(busy_url: str) -> None:
    plan = run(plan_of(busy_url, claim.DUE, 0, NOW, COUNT))
    assert changed(plan) == COUNT // 500
    assert "queue_due" in indexes(plan)
    assert not [node for node in nodes(plan) if node["Node Type"] == "Seq Scan"]


def test_leases_that_have_run_out_are_found_among_those_that_are_held(busy_url: str) -> None:
    plan = run(plan_of(busy_url, operations.EXPIRED, 0, NOW, BATCH, *operations.BEFORE_ALL))
    assert indexes(plan) == {"queue_claimed", "operations_serial"}
    assert changed(plan) == BATCH
    assert touched(plan) <= 2 * COUNT // 500


def test_what_a_lost_claim_has_taken_is_found_among_what_is_claimed(busy_url: str) -> None:
    plan = run(plan_of(busy_url, claim.CLAIMED, 0, "worker-1", CLAIMED_BY))
    assert indexes(plan) == {
        "queue_claimed",
        "operations_serial",
        "history_pkey",
        "events_accepted_once",
        "external_refunds_pkey",
    }
    assert touched(plan) <= 8 * COUNT // 500


@pytest.mark.parametrize(
    ("statement", "arguments", "index", "ways"),
    [
        (deliveries.KNOWN, [0, SOME], "operations_pkey", 2),
        (operations.LOAD, [0, SOME[0]], "operations_pkey", 2),
        # It looks, locks and writes.
        (operations.HEARTBEAT, [0, NOW + LEASE, THEIR_SERIALS, [1] * BATCH], "operations_serial", 7),
        (journal.WRITTEN, [0, THEIR_SERIALS, [3] * BATCH, [CLAIMED_BY] * BATCH], "history_pkey", 2),
    ],
    ids=["known", "load", "heartbeat", "written"],
)
def test_what_is_asked_by_keys_is_found_by_them(
    busy_url: str, statement: str, arguments: list[Any], index: str, ways: int
) -> None:
    plan = run(plan_of(busy_url, statement, *arguments))
    assert indexes(plan) == {*index.split()}
    assert 1 <= changed(plan) <= BATCH
    # The batch as it is given, and each row by its key.
    assert touched(plan) <= ways * BATCH


@pytest.mark.parametrize(
    ("statement", "arguments", "index"),
    [
        (ingest.STORE, [NEW, "worker-1", CLAIMED_BY], ""),
        (operations.BEGIN, [BEGINNING, "worker-1"], "operations_serial"),
        (decisions.RECORD, SUCCEEDING, "operations_serial queue_pkey attempts_pkey"),
        (deliveries.COUNT_AGAIN, [ids_of(range(1, BATCH + 1), "event"), [1] * BATCH], "events_pkey"),
    ],
    ids=["store", "begin", "record", "count again"],
)
def test_what_is_written_by_one_statement_is_found_by_its_keys(
    busy_url: str, statement: str, arguments: list[Any], index: str
) -> None:
    """The rows of a batch are joined with what was written of them: each with its own, never each with each."""
    plan = run(plan_of(busy_url, statement, 0, *arguments))
    assert indexes(plan) == {*index.split()}
    assert changed(plan) == BATCH
    assert touched(plan) <= WAYS * BATCH
