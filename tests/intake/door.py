"""The intake over a database of its own, and what a test delivers to it."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg

from app import providers
from app.db.engine import connect, create
from app.db.sagas import Sagas
from app.db.store import Store
from app.db.wakeup import Wakeup
from app.intake import Intake, Receipt
from app.providers import Delivery
from app.providers.reading import read
from app.settings import Source
from tests.builders import FixedClock, purchase_saga

FIELDS = providers.provider("standard-webhooks").default_fields
SHOP = Source(
    name="shop",
    provider="standard-webhooks",
    secrets=(),
    saga="purchase",
    tolerance=timedelta(minutes=5),
    identity="shop",
    fields=FIELDS,
)
# As it stood before the configuration was mended: it looks for the order where this sender has none.
BROKEN = replace(SHOP, fields=replace(FIELDS, order_id="data.order.id"))


@dataclass
class Door:
    """An intake, and what a test delivers to it."""

    intake: Intake
    store: Store
    database: "asyncpg.Connection[Any]"
    wakeup: Wakeup

    async def deliver(self, body: dict[str, Any], source: Source = SHOP, delivery_id: str | None = "msg_1") -> Receipt:
        """A verified delivery."""
        raw = json.dumps(body).encode()
        return await self.intake.receive(source, read(source, Delivery(delivery_id), raw), raw)

    async def again(self, event: UUID, source: Source = SHOP) -> Receipt:
        """An operator has a kept event read again."""
        return await self.intake.reprocess({source.name: source}, event)

    async def events(self) -> list[tuple[str, str, int]]:
        """All that was stored, by their times and ids: (id, status, deliveries)."""
        rows = await self.database.fetch("SELECT id, status, deliveries FROM events ORDER BY received_at, status, id")
        return [(str(row["id"]), row["status"], row["deliveries"]) for row in rows]

    async def operations(self) -> int:
        """How many there are."""
        return int(await self.database.fetchval("SELECT count(*) FROM operations"))


async def opened(url: str, buckets: int) -> AsyncIterator[Door]:
    engine = create(url, 4)
    store = Store(url, buckets, FixedClock())
    database = await connect(url)
    wakeup = Wakeup(url)
    intake = Intake(engine, store, Sagas(engine, {}), {"purchase": purchase_saga()}, FixedClock(), wakeup)
    yield Door(intake, store, database, wakeup)
    await store.close()
    await database.close()
    await engine.dispose()


def payment(payment_id: Any = "pay_1", **data: Any) -> dict[str, Any]:
    told = {"payment_id": payment_id, "order_id": "order-1", "amount": 1999, "currency": "EUR", **data}
    return {"type": "payment.received", "data": told}
