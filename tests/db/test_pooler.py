"""Through a pooler that gives each transaction another session, nothing may outlive its transaction."""

import re
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from app.db import reads
from app.db.engine import connect, create
from app.db.filters import OperationFilter
from app.db.sagas import Sagas
from app.db.schema import check, upgrade
from app.db.stats import stats
from app.db.store import Store
from app.saga.model import Status
from tests.builders import NOW, FixedClock, arrival_of, operation_for, purchase_saga
from tests.db.pooler import Pooler, pooling


@pytest.fixture
async def pooler(database_url: str) -> AsyncIterator[Pooler]:
    place = parse_qs(urlsplit(database_url).query)
    async with pooling(f"{place['host'][0]}/.s.PGSQL.{place['port'][0]}") as pooler:
        yield pooler


def through(pooler: Pooler, url: str, options: str = "") -> str:
    return re.sub(r"@/(\w+)\?.*", rf"@127.0.0.1:{pooler.port}/\1?sslmode=disable{options}", url)


async def test_migrations_writes_and_reads_work_where_each_transaction_gets_another_session(
    database_url: str, pooler: Pooler
) -> None:
    """Trap 51: prepared statements, session locks and session settings are lost between two transactions of a pooler."""
    url = through(pooler, database_url, "&prepared_statement_cache_size=0")
    for _ in range(3):
        await upgrade(url)
    engine = create(url, 3)
    await check(engine)
    sagas = Sagas(engine, {})
    store = Store(url, 1, FixedClock())
    operations = [operation_for(f"pay_{number}") for number in range(5)]
    for operation in operations:
        await sagas.store(purchase_saga())
        await store.ingest(arrival_of(operation))
        assert await reads.operation(engine, operation.id) == await store.load(operation.id)
    assert {found.id for found in await reads.operations(engine, OperationFilter(), 9)} == {
        operation.id for operation in operations
    }
    assert (await stats(engine, NOW)).difference == 0
    assert await reads.revisions(engine, [operations[0].id]) == {operations[0].id: (1, Status.PENDING)}
    assert pooler.transactions > 25
    await store.close()
    await engine.dispose()


async def test_statements_that_are_left_prepared_would_not_be_found_again(database_url: str, pooler: Pooler) -> None:
    first, second = [await connect(through(pooler, database_url)) for _ in range(2)]
    assert await first.fetchval("SELECT 1 + $1", 1) == 2
    with pytest.raises(asyncpg.InvalidSQLStatementNameError):
        await first.fetchval("SELECT 1 + $1", 1)
    for connection in (first, second):
        connection.terminate()
