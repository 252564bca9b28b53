"""The world of a journey, and a look into its database from the side."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.db.claim import Claimed
from app.db.store import Store
from tests.queued import in_step
from tests.road.line import Line, line_to
from tests.road.refunding import RefundWorld, refund_world_of
from tests.road.watch import Watch, watching
from tests.road.world import World, world_of


@pytest.fixture
async def world(tmp_path: Path, database_url: str) -> AsyncIterator[World]:
    """The partners, listening, beside an empty database; the test starts the service."""
    async with world_of(tmp_path, database_url) as world:
        yield world
    assert await in_step(database_url)


@pytest.fixture
async def watch(database_url: str) -> AsyncIterator[Watch]:
    """Looks into the world's database, and holds its rows."""
    async with watching(database_url) as watch:
        yield watch


@pytest.fixture
async def line(world: World) -> AsyncIterator[Line]:
    """The service's line to its database."""
    async with line_to(world.database_url) as (line, url):
        world.database_url = url
        yield line


@pytest.fixture
def claimed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The orders that were claimed, so that were not started as they were stored."""
    orders: list[str] = []
    claim = Store.claim

    async def noting(store: Store, *how: Any) -> list[Claimed]:
        found = await claim(store, *how)
        orders.extend(one.operation.order_id for one in found)
        return found

    monkeypatch.setattr(Store, "claim", noting)
    return orders


@pytest.fixture
async def refund_world(tmp_path: Path, database_url: str) -> AsyncIterator[RefundWorld]:
    """Stripe and the supplier, listening, beside an empty database; the test starts the service."""
    async with refund_world_of(tmp_path, database_url) as world:
        yield world
    assert await in_step(database_url)
