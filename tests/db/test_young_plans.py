"""The plans that statements get on a database that was just made: they keep them while its tables grow."""

import json
from typing import Any

import pytest

from app.db import claim, decisions, deliveries, journal, operations

CASES = {
    "take": (
        claim.TAKE,
        "smallint, timestamptz, text, uuid, timestamptz, text[], text[], int[], uuid[], text[], int[], text[],"
        " timestamptz[], text[], text[], timestamptz[]",
    ),
    "begin": (
        operations.BEGIN,
        "smallint, uuid[], int[], int[], text[], timestamptz[], text[], text[], int[], text[], text[], timestamptz[], text",
    ),
    "record": (
        decisions.RECORD,
        "smallint, int[], int[], int[], text[], text[], text[], text[], text[], text[], text[], text[], int[], text[],"
        " text[], text[], int[], text[], bool[], uuid[], int[], uuid[], text[], timestamptz[], timestamptz[], timestamptz[],"
        " timestamptz[], timestamptz[], timestamptz[], timestamptz[], text[], text[], text[], timestamptz[], timestamptz[]",
    ),
    "count_again": (deliveries.COUNT_AGAIN, "smallint, uuid[], int[]"),
    "end_attempts": (journal.END_ATTEMPTS, "smallint, uuid[], int[], text[], text[], timestamptz[]"),
    "written": (journal.WRITTEN, "smallint, uuid[], int[], uuid[]"),
}


def scans(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """The scans of a primary key in a plan, wherever they stand in it."""
    below = [scan for part in plan.get("Plans", []) for scan in scans(part)]
    return [plan, *below] if plan.get("Index Name", "").endswith("_pkey") else below


@pytest.mark.parametrize("name", CASES)
async def test_a_statement_planned_on_empty_tables_asks_by_the_whole_key(database: Any, name: str) -> None:
    """Seen under load on a new database: each flush read all rows of the bucket until the first ANALYZE came."""
    statement, types = CASES[name]
    await database.execute("SET plan_cache_mode = force_generic_plan")
    await database.execute(f"PREPARE young ({types}) AS {statement}")
    arguments = ", ".join(["0", *["NULL"] * types.count(",")])
    [explained] = json.loads(await database.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE young ({arguments})"))
    found = scans(explained["Plan"])
    assert found
    for scan in found:
        assert "bucket =" in scan["Index Cond"]
        assert "id =" in scan["Index Cond"], scan["Index Cond"]
