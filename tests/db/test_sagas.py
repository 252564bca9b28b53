"""Sagas are stored once and stay what they were, while the agents' limits are today's."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import text

from app.db.engine import AsyncEngine, connect, create
from app.db.sagas import Sagas
from app.errors import DatabaseUnavailable, NotFound
from app.saga.definition import Limits, hash_of, to_json
from tests.builders import purchase_saga

TODAY = {"supplier": Limits(timeout=timedelta(seconds=3))}


async def count(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        return int((await connection.execute(text("SELECT count(*) FROM sagas"))).scalar_one())


async def test_a_saga_comes_back_as_it_was_stored_with_todays_limits(engine: AsyncEngine) -> None:
    saga = purchase_saga()
    stored = await Sagas(engine, {}).store(saga)
    again = await Sagas(engine, TODAY).get(stored)
    assert stored == hash_of(saga)
    assert again == saga
    assert again.limits == TODAY


async def test_a_saga_is_stored_once_however_many_processes_store_it(engine: AsyncEngine) -> None:
    stored = await asyncio.gather(*(Sagas(engine, {}).store(purchase_saga()) for _ in range(4)))
    assert len(set(stored)) == 1
    assert await count(engine) == 1
    await Sagas(engine, {}).store(purchase_saga(deadline=timedelta(hours=1)))
    assert await count(engine) == 2


async def test_what_is_stored_is_the_text_that_was_hashed(engine: AsyncEngine, database_url: str) -> None:
    await Sagas(engine, {}).store(purchase_saga())
    connection = await connect(database_url)
    assert await connection.fetchval("SELECT definition FROM sagas") == to_json(purchase_saga())
    await connection.close()


async def test_a_saga_that_was_met_once_needs_no_database(database_url: str) -> None:
    engine = create(database_url, 1)
    sagas = Sagas(engine, TODAY)
    stored = await sagas.store(purchase_saga())
    async with engine.connect():  # the only connection: asking for another would fail
        assert await sagas.store(purchase_saga()) == stored
        assert (await sagas.get(stored)).limits == TODAY
    await engine.dispose()


async def test_a_hash_that_nothing_is_stored_under_is_not_found(engine: AsyncEngine) -> None:
    with pytest.raises(NotFound):
        await Sagas(engine, {}).get("0" * 64)


async def test_without_the_database_a_new_saga_is_not_taken() -> None:
    engine = create("postgresql://makegood@127.0.0.1:1/makegood", 1)
    with pytest.raises(DatabaseUnavailable):
        await Sagas(engine, {}).store(purchase_saga())
    with pytest.raises(DatabaseUnavailable):
        await Sagas(engine, {}).get("0" * 64)
    await engine.dispose()
