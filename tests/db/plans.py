"""The plan of a statement, and what it says: which indexes it uses, and how many rows it touches."""

import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg

from app.db.engine import connect


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All nodes of a plan."""
    yield plan
    for part in plan.get("Plans", []):
        yield from nodes(part)


def indexes(plan: dict[str, Any]) -> set[str]:
    """The indexes that a plan uses."""
    return {node["Index Name"] for node in nodes(plan) if "Index Name" in node}


def touched(plan: dict[str, Any]) -> int:
    """Rows that the scans read: what they gave on, and what they read and threw away."""
    return sum(
        int((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"])
        for node in nodes(plan)
        if "Scan" in node["Node Type"]
    )


def literal(value: Any) -> str:
    """A value as EXECUTE takes it, which has no parameters of its own; its type is the prepared one's."""
    if value is None:
        return "NULL"
    if isinstance(value, list):
        return literal("{" + ",".join(json.dumps(None if one is None else item(one)) for one in value) + "}")
    return str(value) if isinstance(value, int) else "'" + str(value).replace("'", "''") + "'"


def item(value: Any) -> str:
    """A value in an array, or in a row that is in one."""
    if isinstance(value, tuple):
        return "(" + ",".join("" if one is None else column(item(one)) for one in value) + ")"
    return "\\x" + value.hex() if isinstance(value, bytes) else str(value)


def column(text: str) -> str:
    """A text in a row."""
    return '"' + text.replace("\\", "\\\\").replace('"', '""') + '"'


async def plan_of(url: str, statement: str, *arguments: Any) -> dict[str, Any]:
    """The generic plan of a prepared statement, with what was really touched; its effects are rolled back."""
    connection = await connect(url)
    try:
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        await connection.execute(f"PREPARE asked AS {statement}")
        async with rolled_back(connection):
            asked = f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE asked ({', '.join(map(literal, arguments))})"
            [explained] = json.loads(await connection.fetchval(asked))
    finally:
        await connection.close()
    plan: dict[str, Any] = explained["Plan"]
    return plan


@contextlib.asynccontextmanager
async def rolled_back(connection: "asyncpg.Connection[Any]") -> AsyncIterator[None]:
    """Around what is to leave nothing behind."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        yield
    finally:
        await transaction.rollback()
