"""A shop whose provider is a fake that keeps books."""

from collections.abc import AsyncIterator

import pytest

from tests.reconcile.books import Books, opened


@pytest.fixture
async def books(database_url: str) -> AsyncIterator[Books]:
    async with opened(database_url) as books:
        yield books
