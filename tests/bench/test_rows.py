"""The database limit writes what accepted webhooks leave, all of it and nothing else."""

import asyncio
import json
import sys
from pathlib import Path

import asyncpg

from app.db import schema
from app.db.engine import create
from app.db.sagas import Sagas
from app.db.store import Store
from tests.builders import FixedClock, arrival_of, operation_for, purchase_saga
from tests.queued import strays

ROOT = Path(__file__).parents[2]
TABLES = ("operations", "events", "queue", "history", "attempts", "sagas")


async def test_the_rows_of_accepted_webhooks_are_written_anew(database_url: str, bare_database_url: str) -> None:
    engine, store = create(database_url, 1), Store(database_url, 1, FixedClock())
    await Sagas(engine, {}).store(purchase_saga())
    await asyncio.gather(*(store.ingest(arrival_of(operation_for(f"pay_{number}"))) for number in range(5)))
    await store.close()
    await engine.dispose()
    await schema.upgrade(bare_database_url)
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.programs.rows", "--batch", "2"),
        *("--from", database_url, "--into", bare_database_url),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await asyncio.wait_for(program.communicate(b"go\n"), 60)
    assert json.loads(said.splitlines()[-1])["webhooks"] == 5
    source, into = await asyncpg.connect(database_url), await asyncpg.connect(bare_database_url)
    for table in TABLES:
        asked = f"SELECT t::text FROM {table} AS t ORDER BY 1"
        assert await into.fetch(asked) == await source.fetch(asked), table
    assert await into.fetchval("SELECT count(*) FROM queue") == 5
    assert await strays(into) == 0
    await source.close()
    await into.close()
