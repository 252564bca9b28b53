"""The plans that statements get on a database that was just made: they keep them while its tables grow."""

import json
import re
from typing import Any
from uuid import uuid4

import pytest

from app.db import claim, decisions, deliveries, journal, operations
from app.db.decisions import Decision
from app.db.journal import AttemptEnd
from app.db.store import Store
from app.saga.model import Operation, Outcome, Transition
from tests.builders import NOW, arrival_of, operation_for
from tests.db.claims import done
from tests.db.plans import nodes, plan_of
from tests.db.starts import started
from tests.road.service import until

CASES = {
    "due": claim.DUE,
    "take": claim.TAKE,
    "begin": operations.BEGIN,
    "record": decisions.RECORD,
    "count again": deliveries.COUNT_AGAIN,
    "end attempts": journal.END_ATTEMPTS,
    "written": journal.WRITTEN,
}

BATCH = 200

READ = "SELECT coalesce(sum(idx_tup_read), 0) FROM pg_stat_user_indexes WHERE relname = 'operations'"


def scans(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """The scans of a key in a plan, wherever they stand in it."""
    below = [scan for part in plan.get("Plans", []) for scan in scans(part)]
    return [plan, *below] if plan.get("Index Name", "").endswith(("_pkey", "_serial", "_once")) else below


async def check_plan(database: Any, name: str) -> None:
    """Wherever the plan looks something up, it does so by the whole key."""
    statement = CASES[name]
    await database.execute("SET plan_cache_mode = force_generic_plan")
    await database.execute(f"PREPARE young AS {statement}")
    arguments = ", ".join(["0", *["NULL"] * (len({*re.findall(r"[$]\d+", statement)}) - 1)])
    [explained] = json.loads(await database.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE young ({arguments})"))
    found = scans(explained["Plan"])
    assert found
    for scan in found:
        assert "bucket =" in scan["Index Cond"]
        assert re.search("(id|serial) =", scan["Index Cond"]), scan["Index Cond"]


@pytest.mark.parametrize("name", CASES)
async def test_a_statement_planned_on_empty_tables_asks_by_the_whole_key(database: Any, name: str) -> None:
    """Seen under load on a new database: each flush read all rows of the bucket until the first ANALYZE came."""
    await check_plan(database, name)


@pytest.mark.parametrize("name", CASES)
async def test_so_does_one_that_is_planned_before_the_first_analyze(store: Store, database: Any, name: str) -> None:
    """Seen where a worker began after others had received: a table has some pages by then, and no statistics."""
    await store.ingest_all([arrival_of(operation_for(f"pay_{number}")) for number in range(1_000)])
    await check_plan(database, name)


async def test_a_foreign_key_planned_on_empty_tables_asks_by_the_whole_key(store: Store, database: Any) -> None:
    """Seen under load on a new database: looking up an event's operation read the bucket by another index that begins with it."""
    for turn in range(8):
        await store.ingest_all([arrival_of(operation_for(f"pay_{turn}_{number}")) for number in range(50)])
    await store.close()

    async def has_said_so() -> bool:
        """A session says what it has read when it ends."""
        return int(await database.fetchval(READ)) >= 400

    await until(has_said_so)
    assert await database.fetchval(READ) <= 2 * 400


async def test_a_record_on_young_tables_goes_through_its_changes_once(store: Store, database_url: str) -> None:
    """Seen when the ends of calls were joined with the changes: each call's end went through all of them."""
    starting = [started(operation_for(f"pay_{number}")) for number in range(1_000)]
    await store.ingest_all([arrival for arrival, _ in starting])
    moves = [ended(start.begun.operation) for _, start in starting[:BATCH]]
    plan = await plan_of(database_url, decisions.RECORD, 0, *decisions.rows_of(moves))
    assert plan["Actual Rows"] == BATCH
    given = [node for node in nodes(plan) if node["Node Type"] == "Function Scan"]
    assert sum(node["Actual Rows"] * node["Actual Loops"] for node in given) == BATCH


def ended(operation: Operation) -> tuple[Decision, Transition]:
    """The decision on an answer, with the end of the call."""
    end = AttemptEnd(operation.lease, Outcome.DONE, {"status": 200, "body": {}}, NOW)
    move = done(operation)
    return Decision(uuid4(), operation.id, operation.serial, NOW, move, "worker-1", attempt=end), move
