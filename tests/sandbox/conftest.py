"""The sandbox's partners, listening on loopback."""

from collections.abc import AsyncIterator

import httpx
import pytest

from app.sandbox import Supplier, listening


@pytest.fixture
def supplier() -> Supplier:
    return Supplier(patience=0.05)


@pytest.fixture
async def shop(supplier: Supplier) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the supplier, which is less patient than a test that hangs."""
    async with listening(supplier.app) as url, httpx.AsyncClient(base_url=url, timeout=5) as client:
        yield client
