"""A shop at a provider: the provider's own books over real HTTP, and those of Makegood in a database of their own."""

import contextlib
import importlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg

from app import providers
from app.agents import Agents
from app.db.engine import AsyncEngine, connect, create
from app.db.sagas import Sagas
from app.db.store import Store
from app.db.wakeup import Wakeup
from app.identity import operation_id
from app.intake import Intake, Receipt
from app.providers.refunds import RefundStatus
from app.reconcile import Reconciler, Report
from app.settings import Agent, Source
from tests.builders import FixedClock, purchase_saga
from tests.fakes.ledger import Captured, Given
from tests.fakes.server import Fake
from tests.providers.stages import hear, signed, stage_of
from tests.queued import put_in_step

DAY = timedelta(hours=24)


def shop_at(provider: str) -> Source:
    """A shop that this provider pays."""
    return replace(stage_of(provider).source, name="shop", identity="shop", api="psp")


SHOP = shop_at("stripe")


def fakes() -> dict[str, type[Fake]]:
    """A fake of each provider whose payments can be read, found by the provider's name."""
    found: dict[str, type[Fake]] = {}
    for name, provider in providers.known().items():
        if provider.payments is not None:
            module = importlib.import_module(f"tests.fakes.{name}")
            [found[name]] = [kind for kind in vars(module).values() if _is_fake_of(kind, module.__name__)]
    return found


def _is_fake_of(kind: object, module: str) -> bool:
    return isinstance(kind, type) and issubclass(kind, Fake) and kind.__module__ == module


@dataclass
class Books:
    """Both sides of one shop."""

    source: Source
    fake: Fake
    reconciler: Reconciler
    intake: Intake
    clock: FixedClock
    engine: AsyncEngine
    database: "asyncpg.Connection[Any]"

    async def reconcile(self, since: timedelta = DAY, source: Source | None = None) -> Report:
        """Compares them."""
        return await self.reconciler.reconcile(source or self.source, since)

    async def tell(self, payment: Captured) -> Receipt:
        """The webhook of a payment comes."""
        now = self.clock.wall()
        sent = signed(self.source, json.dumps(self.fake.payment_event(payment)).encode(), now=now)
        [reading] = hear(self.source, sent, now)
        return await self.intake.receive(self.source, reading, sent.body)

    def give_back(self, payment: Captured, amount: int, status: RefundStatus = RefundStatus.SUCCEEDED) -> None:
        """Somebody gives a part of a payment back, by hand."""
        refund_id = self.fake.fresh("70000")
        self.fake.ledger.give(Given(refund_id, payment.id, amount, status, self.clock.now()))

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
        await put_in_step(self.database)

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
async def opened(url: str, provider: str = "stripe") -> AsyncIterator[Books]:
    clock = FixedClock()
    source, fake = shop_at(provider), fakes()[provider](now=clock.now)
    engine, store, database = create(url, 4), Store(url, 1, clock), await connect(url)
    async with fake.listening() as base_url:
        agents = Agents({"psp": Agent("psp", base_url)}, clock)
        intake = Intake(engine, store, Sagas(engine, {}), {"purchase": purchase_saga()}, clock, Wakeup(url))
        try:
            yield Books(source, fake, Reconciler(engine, intake, agents, clock), intake, clock, engine, database)
        finally:
            await agents.aclose()
            await store.close()
            await database.close()
            await engine.dispose()


def said(report: Report) -> list[tuple[str, str | None, object, object]]:
    """The findings of a report: what, of which payment, here and there."""
    return [(one.difference.value, one.payment_id, one.here, one.there) for one in report.findings]
