"""A million rows like one: as many as asked for, each whole, with every index at work again."""

import asyncpg
import pytest

from app.db.engine import create
from app.db.sagas import Sagas
from app.db.store import Store
from bench.multiply import NEW, multiply
from tests.builders import FixedClock, arrival_of, operation_for, purchase_saga
from tests.queued import strays

AT_WORK = "SELECT bool_and(indisready AND indisvalid) FROM pg_index WHERE indrelid = ANY($1::text[]::regclass[])"
BY_INDEX = """
SET enable_seqscan = off;
SET enable_bitmapscan = off;
"""


async def test_copies_are_whole_and_the_tables_are_as_before(database_url: str) -> None:
    engine, store = create(database_url, 1), Store(database_url, 1, FixedClock())
    await Sagas(engine, {}).store(purchase_saga())
    await store.ingest(arrival_of(operation_for("pay_1")))
    await store.close()
    await engine.dispose()
    connection = await asyncpg.connect(database_url)
    await multiply(connection, "pay_1", 50)
    counts = {table: await connection.fetchval(f"SELECT count(*) FROM {table}") for table in NEW}
    widths = await connection.fetch("SELECT DISTINCT pg_column_size(o.steps::text) FROM operations AS o")
    orphans = await connection.fetchval(
        "SELECT count(*) FROM events AS e JOIN operations AS o"
        " ON o.bucket = e.bucket AND o.serial = e.operation_serial AND o.external_id = e.external_id"
    )
    at_work = await connection.fetchval(AT_WORK, list(NEW))
    await connection.execute(BY_INDEX)
    found = await connection.fetchval(
        "SELECT count(*) FROM operations WHERE external_id >= 'past_' AND external_id < 'past`'"
    )
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await connection.execute("DELETE FROM operations")
    later = await connection.fetchval("SELECT count(DISTINCT next_run_at) FROM operations")
    in_step = await strays(connection) == 0
    await connection.close()
    assert counts == {"operations": 51, "events": 51, "queue": 51, "attempts": 0, "history": 51}
    assert in_step
    assert (orphans, later, len(widths)) == (51, 51, 1)
    assert (at_work, found) == (True, 50)


async def test_none_is_none(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    await multiply(connection, "nobody", 0)
    assert await connection.fetchval("SELECT count(*) FROM operations") == 0
    with pytest.raises(ValueError, match="not enough values"):
        await multiply(connection, "nobody", 1)
    await connection.close()
