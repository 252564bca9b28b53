"""The database limit: the rows that accepted webhooks have left are read back, and asyncpg writes them anew.

    python -m bench.programs.rows --from URL --into URL --batch 500

One connection, one multi-row statement a table and batch, one transaction a batch; everything is laid out beforehand.
It takes the tables as they are, so it needs no knowledge of what the service writes them with.
"""

import argparse
import asyncio
import json
import sys
import time
from dataclasses import dataclass
from typing import TypeAlias

import asyncpg
import uvloop

# In the order in which their keys allow, and by what the rows of one webhook are found side by side.
FEW = ("sagas",)
TABLES = {
    "operations": "serial",
    "events": "operation_serial",
    "queue": "operation_serial",
    "history": "operation_serial",
}

COLUMNS = """
SELECT attname AS name, format_type(atttypid, atttypmod) AS type
  FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
OTHERS = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname <> ALL($1::text[])"

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@dataclass(frozen=True, slots=True)
class Batch:
    """What one statement writes."""

    statement: str
    columns: list[list[object]]


async def read(source: Connection, table: str, order: str, size: int) -> list[Batch]:
    """The rows of a table, batch by batch."""
    columns = await source.fetch(COLUMNS, table)
    names = ", ".join(column["name"] for column in columns)
    arrays = ", ".join(f"${number}::{column['type']}[]" for number, column in enumerate(columns, 1))
    statement = f"INSERT INTO {table} ({names}) SELECT * FROM unnest({arrays})"
    rows = await source.fetch(f"SELECT {names} FROM {table} ORDER BY {order}")
    parts = [rows[start : start + size] for start in range(0, len(rows), size)]
    return [Batch(statement, [list(column) for column in zip(*part, strict=True)]) for part in parts]


async def main() -> None:
    """Reads, waits for a line, writes, says how long it took."""
    parser = argparse.ArgumentParser(prog="bench.programs.rows")
    parser.add_argument("--from", dest="source", required=True)
    parser.add_argument("--into", required=True)
    parser.add_argument("--batch", type=int, required=True)
    wanted = parser.parse_args()
    source, into = await asyncpg.connect(wanted.source), await asyncpg.connect(wanted.into)
    for row in await source.fetch(OTHERS, [*FEW, *TABLES, "alembic_version", "installation"]):
        if await source.fetchval(f"SELECT EXISTS (SELECT FROM {row['relname']})"):
            sys.exit(f"this limit would leave out the rows of {row['relname']}")
    for table in FEW:
        for batch in await read(source, table, "1", wanted.batch):
            await into.execute(batch.statement, *batch.columns)
    read_back = [await read(source, table, order, wanted.batch) for table, order in TABLES.items()]
    for batches in read_back:
        await into.prepare(batches[0].statement)
    webhooks = sum(len(batch.columns[0]) for batch in read_back[0])
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    began = time.perf_counter()
    for together in zip(*read_back, strict=True):
        async with into.transaction():
            for batch in together:
                await into.execute(batch.statement, *batch.columns)
    print(json.dumps({"webhooks": webhooks, "seconds": time.perf_counter() - began}), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
