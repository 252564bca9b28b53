"""An intake over a database of one bucket, and one of four."""

from collections.abc import AsyncIterator

import pytest

from app.db import schema
from tests.intake.door import Door, opened


@pytest.fixture
async def door(database_url: str) -> AsyncIterator[Door]:
    async for door in opened(database_url, 1):
        yield door


@pytest.fixture
async def wide_door(bare_database_url: str) -> AsyncIterator[Door]:
    """On a database that was made with four buckets."""
    await schema.upgrade(bare_database_url, buckets=4)
    async for door in opened(bare_database_url, 4):
        yield door
