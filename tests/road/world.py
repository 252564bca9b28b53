"""A whole world for the journeys: the service, a payment provider and a supplier, over real HTTP and PostgreSQL."""

import contextlib
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from app import settings as configuration
from app.api import create_app
from app.providers import known, provider
from app.sandbox import Ledger, PaymentProvider, Supplier, listening
from app.settings import Settings
from app.wiring import Role, Service, build

SECRET = "whsec_" + "c2VjcmV0LW9mLXRoZS10ZXN0cy1vbmx5"
KEY = "mg_operator"

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

[agents.psp]
base_url = "{psp}"
timeout = "{timeout}"
in_flight = "{in_flight}"
"""

RETRY = 'retry = {{ maximum_attempts = {attempts}, initial_interval = "20ms", maximum_interval = "100ms" }}'
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


def saga_toml(name: str, *steps: str, lookup: bool = False, attempts: int = 3) -> str:
    """The TOML of a saga: the payment, and wares of the supplier's in order."""
    retry = RETRY.format(attempts=attempts)
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
        more: str = "",
    ) -> Path:
        """Writes makegood.toml and returns its path."""
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
        )
        path = self.folder / "makegood.toml"
        path.write_text(text + sagas + more)
        return path

    def settings(self, **changes: Any) -> Settings:
        """The settings of such a configuration."""
        return configuration.load(self.config(**changes), {"DATABASE_URL": self.database_url}, known())

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
async def client_of(url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a service with an operator's key."""
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client:
        yield client


@dataclass
class Client:
    """What a test does with a service."""

    http: httpx.AsyncClient
    psp: PaymentProvider

    async def pay(self, order_id: str, amount: int = 1999) -> str:
        """A payment that is captured and told of once; the id of its operation."""
        payment = self.psp.capture(order_id, amount)
        answer = await self.psp.send(self.psp.event(payment))
        assert answer is not None
        assert answer.status_code == 202, answer.text
        return str(answer.json()["operation_id"])

    async def get(self, path: str) -> Any:
        """The JSON of a GET."""
        answer = await self.http.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def settled(self, operation_id: str) -> dict[str, Any]:
        """The operation once it is final or held."""
        answer = await self.http.get(f"/operations/{operation_id}", headers={"Prefer": "wait=20"})
        operation: dict[str, Any] = answer.json()
        assert operation["status"] in {"succeeded", "refunded", "held"}, operation
        return operation

    async def attempts(self, operation_id: str) -> list[dict[str, Any]]:
        """The calls of an operation, oldest first."""
        items: list[dict[str, Any]] = (await self.get(f"/operations/{operation_id}/attempts"))["items"]
        return items

    async def post(self, path: str, **body: Any) -> httpx.Response:
        """An operator's call."""
        return await self.http.post(path, json=body)


@contextlib.asynccontextmanager
async def world_of(folder: Path, database_url: str) -> AsyncIterator[World]:
    """The partners, listening; no service yet."""
    supplier = Supplier(patience=3.0)
    signer = provider("standard-webhooks")
    async with httpx.AsyncClient(timeout=30) as client:

        def sign(body: bytes, delivery_id: str) -> dict[str, str]:
            return signer.sign(SOURCE[0], body, datetime.now(UTC), delivery_id)

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
