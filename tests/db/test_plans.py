"""Plans at 100,000 operations: what is asked finds its rows by an index and touches little more than those."""

import asyncio
from collections.abc import Collection, Coroutine, Iterator
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

import pytest
from sqlalchemy import Select, TextClause

from app.db import retention
from app.db.engine import connect, create
from app.db.filters import OperationFilter
from app.db.reads import events_statement, operations_statement
from app.db.sagas import Sagas
from app.db.tables import EventStatus
from app.saga.definition import hash_of
from app.saga.model import Status
from tests.builders import NOW, purchase_saga
from tests.db.plans import indexes, touched
from tests.postgres import TEMPLATE, Databases

COUNT = 100_000
PAGE = 50
# Rows that may be touched for a page: a part of what is under way where a status is asked for, and never of the table.
FEW = 15 * PAGE

# One payment a second; of each thousand one is held, one in error, two are pending, and the others have succeeded.
OPERATIONS = """
INSERT INTO operations (bucket, id, serial, source, external_id, order_id, amount, currency, saga, saga_hash, phase,
                        status, held_reason, step, action, attempt, revision, lease, next_run_at, deadline, steps,
                        created_at, updated_at, finished_at)
SELECT 0, md5(n::text)::uuid, lpad(to_hex(n), 32, '0')::uuid, 'shop', 'pay_' || n, 'order-' || n / 2, 1999, 'EUR', 'purchase', $2,
       'purchase', s.status, CASE WHEN s.status = 'held' THEN 'contradicted' END, 'purchase',
       'do', 1, 3, 1, CASE WHEN s.status IN ('pending', 'error') THEN at END, at + interval '1 day',
       '[{"name":"payment","status":"done"},{"name":"purchase","status":"todo"}]', at, at,
       CASE WHEN s.status = 'succeeded' THEN at END
  FROM generate_series(1, $3::int) AS n,
       LATERAL (SELECT CASE n % 1000 WHEN 1 THEN 'held' WHEN 2 THEN 'error' WHEN 3 THEN 'pending' WHEN 4 THEN 'pending'
                       ELSE 'succeeded' END AS status, $1::timestamptz + n * interval '1 s' AS at) AS s
"""

QUEUE = """
INSERT INTO queue (bucket, operation_serial, next_run_at, complete_by)
SELECT bucket, serial, next_run_at, complete_by FROM operations WHERE next_run_at IS NOT NULL
"""
HISTORY = """
INSERT INTO history (bucket, operation_serial, revision, transition, from_phase, from_status, to_phase, to_status, cause,
                     actor, at)
SELECT bucket, serial, 3, id, phase, 'processing', phase, status, 'step_done', 'worker-1', updated_at FROM operations
"""

EVENTS = """
INSERT INTO events (bucket, id, source, external_id, deliveries, status, operation_serial, received_at, payload)
SELECT 0, md5('event' || id)::uuid, source, external_id, 1, CASE WHEN n % 500 = 0 THEN 'conflict' ELSE 'accepted' END, serial, created_at,
       '{}'::bytea
  FROM (SELECT *, row_number() OVER () AS n FROM operations) AS numbered
"""

Result = TypeVar("Result")


async def fill(url: str) -> None:
    engine = create(url, 1)
    await Sagas(engine, {}).store(purchase_saga())
    await engine.dispose()
    connection = await connect(url, command_timeout=None)
    await connection.execute(OPERATIONS, NOW, hash_of(purchase_saga()), COUNT)
    for statement in (QUEUE, HISTORY, EVENTS):
        await connection.execute(statement)
    for table in ("operations", "queue", "history", "events"):
        await connection.execute(f"VACUUM ANALYZE {table}")
    await connection.close()


@pytest.fixture(scope="module")
def crowded_url(databases: Databases) -> Iterator[str]:
    """A database with `COUNT` operations, made once for all tests here, which only read."""
    name = databases.create(TEMPLATE)
    run(fill(databases.url(name)))
    yield databases.url(name)
    databases.drop(name)


def run(work: Coroutine[Any, Any, Result]) -> Result:
    with asyncio.Runner() as runner:
        return runner.run(work)


async def plan_of(url: str, statement: Select[Any] | TextClause, **parameters: Any) -> dict[str, Any]:
    """The plan with what was really touched, of the statement as it is sent, its parameters beside it."""
    engine = create(url, 1)
    async with engine.connect() as connection:
        compiled = statement.compile(dialect=connection.dialect, compile_kwargs={"render_postcompile": True})
        explained = await connection.exec_driver_sql(
            f"EXPLAIN (ANALYZE, FORMAT JSON) {compiled}",
            tuple({**compiled.params, **parameters}[name] for name in compiled.positiontup or ()),
        )
        plan: dict[str, Any] = explained.scalar_one()[0]["Plan"]
    await engine.dispose()
    return plan


MIDDLE = NOW + timedelta(seconds=COUNT // 2)


@pytest.mark.parametrize(
    ("filters", "index"),
    [
        (OperationFilter(), "operations_newest"),
        (OperationFilter(source="shop"), "operations_newest"),
        (OperationFilter(order_id="order-777"), "operations_order"),
        (OperationFilter(external_id="pay_777"), "operations_external"),
        (OperationFilter(statuses=frozenset({Status.HELD})), "operations_held"),
        (OperationFilter(statuses=frozenset({Status.ERROR})), "operations_serial"),
        (OperationFilter(statuses=frozenset({Status.PROCESSING})), "operations_serial"),
        (OperationFilter(created_before=MIDDLE), "operations_newest"),
        (OperationFilter(created_after=MIDDLE, created_before=MIDDLE + timedelta(hours=1)), "operations_newest"),
    ],
    ids=["all", "source", "order", "external id", "held", "error", "processing", "before", "between"],
)
def test_a_page_of_operations_is_found_by_its_index(crowded_url: str, filters: OperationFilter, index: str) -> None:
    plan = run(plan_of(crowded_url, operations_statement(filters, PAGE)))
    assert indexes(plan) == {index}
    assert touched(plan) <= FEW


def test_a_page_in_the_middle_begins_there(crowded_url: str) -> None:
    plan = run(plan_of(crowded_url, operations_statement(OperationFilter(), PAGE, (MIDDLE, UUID(int=0)))))
    assert indexes(plan) == {"operations_newest"}
    assert touched(plan) <= FEW


@pytest.mark.parametrize(
    ("statuses", "index"),
    [
        ((), "events_newest"),
        ({EventStatus.CONFLICT}, "events_not_accepted"),
        ({EventStatus.UNPROCESSABLE}, "events_not_accepted"),
        ({EventStatus.ACCEPTED}, "events_newest"),
    ],
    ids=["all", "conflict", "unprocessable", "accepted"],
)
def test_a_page_of_events_is_found_by_its_index(
    crowded_url: str, statuses: Collection[EventStatus], index: str
) -> None:
    plan = run(plan_of(crowded_url, events_statement(statuses, None, PAGE)))
    assert indexes(plan) == {index, "operations_serial"}  # and by that the id of the operation
    assert touched(plan) <= FEW


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        (retention.FINISHED, "history_finished operations_serial"),
        (retention.OLD_EVENTS["ignored"], "events_not_accepted"),
        (retention.OLD_EVENTS["duplicate"], "events_not_accepted"),
    ],
    ids=["finished", "ignored", "duplicate"],
)
def test_what_retention_empties_is_found_by_its_index(crowded_url: str, statement: TextClause, index: str) -> None:
    plan = run(plan_of(crowded_url, statement, bucket=0, before=MIDDLE, most=PAGE))
    assert indexes(plan) == {*index.split()}
    assert touched(plan) <= FEW
