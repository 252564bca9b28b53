"""What the tests of the database share."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from app.db import store as stores
from app.db.engine import AsyncEngine, create
from app.db.sagas import Sagas
from app.db.store import Store
from tests.builders import FixedClock, purchase_saga
from tests.db.losing import Losing
from tests.queued import in_step


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    """An engine on this test's own migrated database."""
    engine = create(database_url, 4)
    yield engine
    await engine.dispose()


@pytest.fixture
def clock() -> FixedClock:
    """The database's clock, standing."""
    return FixedClock()


@pytest.fixture
async def store(database_url: str, clock: FixedClock) -> AsyncIterator[Store]:
    """The door to this test's database, which knows the saga `purchase`."""
    engine = create(database_url, 1)
    await Sagas(engine, {}).store(purchase_saga())
    await engine.dispose()
    store = Store(database_url, 1, clock)
    yield store
    await store.close()
    assert await in_step(database_url)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator["asyncpg.Connection[Any]"]:
    """A connection that looks at what is written."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
def losing(monkeypatch: pytest.MonkeyPatch) -> type[Losing]:
    """The store's writers are such that lose answers."""
    monkeypatch.setattr(stores, "Writer", Losing)
    monkeypatch.setattr(Losing, "losing", 0)
    return Losing


@pytest.fixture
async def losing_store(
    losing: type[Losing], store: Store, database_url: str, clock: FixedClock
) -> AsyncIterator[Store]:
    """A store that can lose the answers to its commits."""
    made = Store(database_url, store.buckets, clock)
    yield made
    losing.losing = 0
    await made.close()
