"""A shop at Stripe: the provider's own books over real HTTP, and those of Makegood in a database of their own."""

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg

from app.agents import Agents
from app.db.engine import AsyncEngine, connect, create
from app.db.sagas import Sagas
from app.db.store import Store
from app.db.wakeup import Wakeup
from app.intake import Intake, Receipt, operation_id
from app.providers import Delivery
from app.providers.reading import read
from app.reconcile import Reconciler, Report
from app.settings import Agent, Source
from tests.builders import FixedClock, purchase_saga
from tests.fakes.ledger import Captured
from tests.fakes.stripe import StripeFake
from tests.providers.stages import stage_of

DAY = timedelta(hours=24)
SHOP: Source = replace(stage_of("stripe").source, name="shop", identity="shop", api="stripe")


@dataclass
class Books:
    """Both sides of one shop."""

    fake: StripeFake
    reconciler: Reconciler
    intake: Intake
    clock: FixedClock
    engine: AsyncEngine
    database: "asyncpg.Connection[Any]"

    async def reconcile(self, since: timedelta = DAY, source: Source = SHOP) -> Report:
        """Compares them."""
        return await self.reconciler.reconcile(source, since)

    async def tell(self, payment: Captured, source: Source = SHOP) -> Receipt:
        """The webhook of a payment comes."""
        body = json.dumps(self.fake.payment_event(payment)).encode()
        return await self.intake.receive(source, read(source, Delivery(None), body), body)

    def paid(self, number: int = 1, amount: int = 1999, currency: str = "EUR") -> Captured:
        """A payment that nobody is told of; the clock goes on a second."""
        payment = self.fake.capture(f"order-{number}", amount, currency)
        self.clock.advance(timedelta(seconds=1))
        return payment

    async def told(self, number: int = 1, **how: Any) -> Captured:
        """A payment whose webhook came."""
        payment = self.paid(number, **how)
        await self.tell(payment)
        self.clock.advance(timedelta(seconds=1))
        return payment

    async def set(self, payment: Captured, **columns: str) -> None:
        """Makes of an operation what a worker would have made of it."""
        changes = ", ".join(f"{name} = {value}" for name, value in columns.items())
        await self.database.execute(f"UPDATE operations SET {changes} WHERE id = $1", self.id(payment))

    async def all(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every row of what deliveries make."""
        tables = ("operations", "events", "history")
        return {
            table: [tuple(row) for row in await self.database.fetch(f"SELECT * FROM {table} ORDER BY 1, 2, 3")]
            for table in tables
        }

    @staticmethod
    def id(payment: Captured) -> UUID:
        """The id of a payment's operation."""
        return operation_id("shop", payment.id)


@contextlib.asynccontextmanager
async def opened(url: str) -> AsyncIterator[Books]:
    clock = FixedClock()
    fake = StripeFake(now=clock.now)
    engine, store, database = create(url, 4), Store(url, 1, clock), await connect(url)
    async with fake.listening() as base_url:
        agents = Agents({"stripe": Agent("stripe", base_url)}, clock)
        intake = Intake(engine, store, Sagas(engine, {}), {"purchase": purchase_saga()}, clock, Wakeup(url))
        try:
            yield Books(fake, Reconciler(engine, intake, agents, clock), intake, clock, engine, database)
        finally:
            await agents.aclose()
            await store.close()
            await database.close()
            await engine.dispose()


def said(report: Report) -> list[tuple[str, str | None, object, object]]:
    """The findings of a report: what, of which payment, here and there."""
    return [(one.difference.value, one.payment_id, one.here, one.there) for one in report.findings]
