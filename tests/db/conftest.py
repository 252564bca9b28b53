"""What the tests of the database share."""

from collections.abc import AsyncIterator

import pytest

from app.db.engine import AsyncEngine, create


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    """An engine on this test's own migrated database."""
    engine = create(database_url, 4)
    yield engine
    await engine.dispose()
