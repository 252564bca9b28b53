"""The API over a real database, with no worker behind it and a clock that stands."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.api.desk import READER, Desk, client_for, desk_on
from tests.builders import FixedClock


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
async def desk(database_url: str, clock: FixedClock, tmp_path: Path) -> AsyncIterator[Desk]:
    """The API of one process, as an operator sits before it."""
    async with desk_on(database_url, clock, tmp_path) as desk:
        yield desk


@pytest.fixture
async def client(desk: Desk) -> httpx.AsyncClient:
    """A client with an operator's key."""
    return desk.client


@pytest.fixture
async def reader(desk: Desk) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a key that may read."""
    async with client_for(desk.app, READER) as client:
        yield client


@pytest.fixture
async def stranger(desk: Desk) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a key."""
    async with client_for(desk.app, None) as client:
        yield client
