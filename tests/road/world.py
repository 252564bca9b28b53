"""A whole world for the journeys: the service, a payment provider and a supplier, over real HTTP and PostgreSQL."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from app import settings as configuration
from app.api import create_app
from app.providers import known, provider
from app.sandbox import Ledger, PaymentProvider, Supplier, listening
from app.sandbox.desk import Desk
from app.sandbox.manners import Ware
from app.settings import Settings
from app.wiring import Role, Service, build
from tests.cli.process import ROOT, running
from tests.road.forked import forked
from tests.road.service import KEY, Client, Process, client_of

SECRET = "whsec_" + "c2VjcmV0LW9mLXRoZS10ZXN0cy1vbmx5"

CONFIG = """
[server]
port = 0

[worker]
lease = "{lease}"
poll_interval = "{poll_interval}"
concurrency = {concurrency}

[[api_keys]]
name = "operator"
scope = "operate"
sha256 = "{key_hash}"

[sources.shop]
provider = "standard-webhooks"
secrets = ["{secret}"]
saga = "{saga}"

[agents.supplier]
base_url = "{supplier}"
timeout = "{timeout}"
in_flight = "{in_flight}"
{agent}

[agents.psp]
base_url = "{psp}"
timeout = "{timeout}"
in_flight = "{in_flight}"
{agent}
"""

RETRY = 'retry = {{ maximum_attempts = {attempts}, initial_interval = "{first}", maximum_interval = "{longest}" }}'
UNDO_RETRY = 'undo_retry = { maximum_attempts = 20, initial_interval = "20ms", maximum_interval = "100ms" }'
PAYMENT = f"""
[[sagas.{{saga}}.steps]]
name = "payment"
undo = {{{{ agent = "psp", method = "POST", path = "/refunds", body = "{{{{payment_id: external_id, amount: amount, currency: currency}}}}" }}}}
{UNDO_RETRY.replace("{", "{{").replace("}", "}}")}
"""
WARE = """
[[sagas.{saga}.steps]]
name = "{name}"
do = {{ agent = "supplier", method = "POST", path = "/{name}s", body = "{{id: operation_id, order: order_id, amount: amount}}" }}
undo = {{ agent = "supplier", method = "POST", path = "/{name}s/{{operation_id}}/cancel" }}
{lookup}
{retry}
{undo_retry}
"""
LOOKUP = 'lookup = {{ agent = "supplier", method = "GET", path = "/{name}s/{{operation_id}}", done = "status == \'confirmed\'" }}'


def saga_toml(
    name: str, *steps: str, lookup: bool = False, attempts: int = 3, first: str = "20ms", longest: str = "100ms"
) -> str:
    """The TOML of a saga: the payment, and wares of the supplier's in order.

    Args:
        first, longest: the waits between attempts.
    """
    retry = RETRY.format(attempts=attempts, first=first, longest=longest)
    parts = [PAYMENT.format(saga=name)]
    for step in steps:
        asked = LOOKUP.format(name=step) if lookup else ""
        parts.append(WARE.format(saga=name, name=step, lookup=asked, retry=retry, undo_retry=UNDO_RETRY))
    return "".join(parts)


PURCHASE = saga_toml("purchase", "purchase")
BOOKING = saga_toml("booking", "flight", "hotel")


@dataclass
class World:
    """Everything of one journey. `client` speaks to the service with an operator's key."""

    folder: Path
    database_url: str
    psp: PaymentProvider
    supplier: Supplier
    psp_url: str
    supplier_url: str
    services: list[Service] = field(default_factory=list)

    def config(
        self,
        *,
        saga: str = "purchase",
        sagas: str = PURCHASE,
        lease: str = "30s",
        timeout: str = "2s",
        in_flight: str = "300ms",
        poll_interval: str = "50ms",
        concurrency: int = 64,
        agent: str = "",
        more: str = "",
    ) -> Path:
        """Writes makegood.toml and returns its path. `agent`: more lines of both agents'; `more`: at the end."""
        text = CONFIG.format(
            lease=lease,
            poll_interval=poll_interval,
            concurrency=concurrency,
            key_hash=hashlib.sha256(KEY.encode()).hexdigest(),
            secret=SECRET,
            saga=saga,
            supplier=self.supplier_url,
            psp=self.psp_url,
            timeout=timeout,
            in_flight=in_flight,
            agent=agent,
        )
        path = self.folder / "makegood.toml"
        path.write_text(text + sagas + more)
        return path

    def settings(self, **changes: Any) -> Settings:
        """The settings of such a configuration."""
        return configuration.load(self.config(**changes), {"DATABASE_URL": self.database_url}, known())

    def desk(self, ware: Ware) -> Desk:
        """Where a ware is asked for."""
        return self.psp.desk if ware is Ware.REFUND else self.supplier.desk

    @contextlib.asynccontextmanager
    async def serving(self, role: Role = Role.ALL, **changes: Any) -> AsyncIterator["Client"]:
        """A service of this process while the block runs."""
        settings = self.settings(**changes)
        service = await build(settings, role)
        self.services.append(service)
        try:
            async with listening(create_app(service.context)) as url, client_of(url) as client:
                self.psp.webhook_url = f"{url}/webhooks/shop"
                yield Client(client, self.psp)
        finally:
            await service.stop()

    @contextlib.asynccontextmanager
    async def working(self, **changes: Any) -> AsyncIterator[Service]:
        """A worker of this process while the block runs; it serves nothing."""
        service = await build(self.settings(**changes), Role.WORKER)
        try:
            yield service
        finally:
            await service.stop()

    @contextlib.asynccontextmanager
    async def process(self, role: Role, **changes: Any) -> AsyncIterator[Process]:
        """A service that is a process of its own while the block runs; what has not ended then is killed."""
        with forked(self.config(**changes), self.database_url, role) as child:
            # The partners live in this thread's loop: it must not stand still while we wait.
            yield Process(await asyncio.to_thread(child.url), child.pid, child.wait)

    @contextlib.asynccontextmanager
    async def command(self, **changes: Any) -> AsyncIterator[Process]:
        """`makegood serve`, whose database is the embedded one; what has not ended at the end is killed."""
        config = self.config(**changes)
        with running("serve", "--config", str(config), cwd=ROOT) as run:
            yield Process(await asyncio.to_thread(run.url), run.process.pid, run.wait)


@contextlib.asynccontextmanager
async def world_of(folder: Path, database_url: str) -> AsyncIterator[World]:
    """The partners, listening; no service yet."""
    supplier = Supplier(patience=3.0)
    signer = provider("standard-webhooks")
    async with httpx.AsyncClient(timeout=30) as client:

        def sign(body: bytes, delivery_id: str) -> Mapping[str, str]:
            return signer.sign(SOURCE[0], body, datetime.now(UTC), delivery_id).headers

        psp = PaymentProvider(sign, lambda: datetime.now(UTC), client, redeliver_after=0.05, patience=3.0)
        async with listening(psp.app) as psp_url, listening(supplier.app) as supplier_url:
            world = World(folder, database_url, psp, supplier, psp_url, supplier_url)
            SOURCE[:] = [world.settings().sources["shop"]]
            yield world
            await psp.close()


SOURCE: list[Any] = []


def bought(ledger: Ledger) -> list[tuple[str, str, str]]:
    """What a ledger says, as (deed, ware, order) in its order."""
    return [(entry.deed, entry.ware, entry.order_id) for entry in ledger.entries]
