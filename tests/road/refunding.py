"""A world whose payments are Stripe's: its fake keeps the books of what was captured and what went back."""

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from app import settings as configuration
from app.api import create_app
from app.providers import known, provider
from app.providers.refunds import RefundStatus
from app.sandbox import Supplier, listening
from app.settings import Settings
from app.wiring import Role, Service, build
from tests.fakes.ledger import Captured, Given
from tests.fakes.server import Kind
from tests.fakes.stripe import StripeFake
from tests.road.forked import forked
from tests.road.service import KEY, Operator, Process, client_of, until

SECRET = "whsec_of_the_tests"

CONFIG = """
[server]
port = 0

[worker]
lease = "{lease}"
poll_interval = "20ms"

[[api_keys]]
name = "operator"
scope = "operate"
sha256 = "{key_hash}"

[sources.shop]
provider = "stripe"
secrets = ["{secret}"]
saga = "purchase"

[sources.second]
provider = "stripe"
secrets = ["{secret}"]
saga = "{second}"

[agents.supplier]
base_url = "{supplier}"
in_flight = "200ms"

[agents.psp]
base_url = "{psp}"
timeout = "{timeout}"
in_flight = "{in_flight}"
headers = {{ Authorization = "Bearer sk_test_of_the_tests" }}
{agent}
"""
SAGA = """
[sagas.{name}]
undo_deadline = "{undo_deadline}"
[[sagas.{name}.steps]]
name = "{payment}"
undo = {{ agent = "psp", refund = "stripe" }}
undo_retry = {{ maximum_attempts = {attempts}, initial_interval = "20ms", maximum_interval = "100ms" }}
[[sagas.{name}.steps]]
name = "purchase"
do = {{ agent = "supplier", method = "POST", path = "/purchases", body = "{{id: operation_id, order: order_id, amount: amount}}" }}
undo = {{ agent = "supplier", method = "POST", path = "/purchases/{{operation_id}}/cancel" }}
retry = {{ maximum_attempts = 3, initial_interval = "20ms", maximum_interval = "100ms" }}
"""


@dataclass
class RefundWorld:
    """The fake of Stripe, the supplier, and the service between them."""

    folder: Path
    database_url: str
    stripe: StripeFake
    supplier: Supplier
    stripe_url: str
    supplier_url: str
    http: httpx.AsyncClient
    url: str = ""
    services: list[Service] = field(default_factory=list)

    def settings(
        self,
        *,
        lease: str = "30s",
        timeout: str = "2s",
        in_flight: str = "200ms",
        attempts: int = 20,
        undo_deadline: str = "7d",
        agent: str = "",
        other_step: bool = False,
    ) -> Settings:
        """The settings. `other_step`: the second source's saga calls its payment otherwise, so its refund has another key."""
        text = CONFIG.format(
            lease=lease,
            key_hash=hashlib.sha256(KEY.encode()).hexdigest(),
            secret=SECRET,
            supplier=self.supplier_url,
            psp=self.stripe_url,
            timeout=timeout,
            in_flight=in_flight,
            agent=agent,
            second="other" if other_step else "purchase",
        )
        for name, payment in {"purchase": "payment", "other": "money"}.items():
            text += SAGA.format(name=name, payment=payment, attempts=attempts, undo_deadline=undo_deadline)
        self.path.write_text(self.toml(text))
        return configuration.load(self.path, {"DATABASE_URL": self.database_url}, known())

    def toml(self, text: str) -> str:
        """The configuration as it is written down."""
        return text

    @property
    def path(self) -> Path:
        """Of makegood.toml."""
        return self.folder / "makegood.toml"

    @contextlib.asynccontextmanager
    async def working(self, **changes: Any) -> AsyncIterator[None]:
        """A worker of this process while the block runs; it serves nothing."""
        service = await build(self.settings(**changes), Role.WORKER)
        try:
            yield
        finally:
            await service.stop()

    @contextlib.asynccontextmanager
    async def process(self, **changes: Any) -> AsyncIterator[Process]:
        """A worker that is a process of its own while the block runs; what has not ended then is killed."""
        self.settings(**changes)
        with forked(self.path, self.database_url, Role.WORKER) as child:
            yield Process(await asyncio.to_thread(child.url), child.pid, child.wait)

    @contextlib.asynccontextmanager
    async def serving(self, role: Role = Role.ALL, **changes: Any) -> AsyncIterator["Shop"]:
        """A service of this process while the block runs."""
        settings = self.settings(**changes)
        service = await build(settings, role)
        self.services.append(service)
        try:
            async with listening(create_app(service.context)) as self.url, client_of(self.url) as client:
                yield self.shop(client, settings)
        finally:
            await service.stop()

    def shop(self, client: httpx.AsyncClient, settings: Settings) -> "Shop":
        """What a test does with a service that serves."""
        return Shop(client, self, settings)


@dataclass
class Shop(Operator):
    """What a test does with a service whose payments are Stripe's."""

    world: RefundWorld
    settings: Settings

    async def tell(self, event: dict[str, Any], source: str = "shop") -> httpx.Response:
        """Sends one event as Stripe does."""
        body = json.dumps(event).encode()
        signed = provider("stripe").sign(self.settings.sources[source], body, datetime.now(UTC), "")
        path = f"{self.world.url}/webhooks/{source}"
        return await self.world.http.post(path, content=signed.body, headers=dict(signed.headers))

    async def hear_of(self, payment: Captured, source: str = "shop") -> str:
        """Tells of a payment; the id of its operation."""
        answer = await self.tell(self.world.stripe.payment_event(payment), source)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["operation_id"])

    async def pay_for(self, order_id: str, amount: int = 1999) -> tuple[Captured, str]:
        """A payment that is captured and told of; with the id of its operation."""
        payment = self.world.stripe.capture(order_id, amount)
        return payment, await self.hear_of(payment)

    async def tell_of(self, refund: Given, source: str = "shop") -> None:
        """Tells how a refund stands now."""
        answer = await self.tell(self.world.stripe.refund_event(refund), source)
        assert (answer.status_code, answer.json()["status"]) == (200, "ignored"), answer.text

    async def until_status(self, operation_id: str, status: str) -> dict[str, Any]:
        """The operation once it is in a status."""
        return await self.until(operation_id, lambda operation: operation["status"] == status)

    async def refunds_asked(self, operation_id: str) -> list[tuple[str, str | None]]:
        """The calls to the provider as (action, outcome), oldest first."""
        first = (await self.show(operation_id))["steps"][0]["name"]
        return [(action, outcome) for step, action, outcome in await self.outcomes(operation_id) if step == first]

    async def until_more_is_asked(self) -> None:
        """Waits until the provider has been asked something more."""
        before = len(self.world.stripe.asked)

        async def asked() -> bool:
            return len(self.world.stripe.asked) > before

        await until(asked)


def assert_given_back(payment: Captured, *amounts: int) -> None:
    """What the provider's books say: these refunds stand, and no other."""
    standing = [refund.amount for refund in payment.refunds if refund.status is not RefundStatus.FAILED]
    assert standing == list(amounts)
    assert payment.refunded <= payment.amount


def wishes(stripe: StripeFake) -> list[tuple[str | None, bytes]]:
    """The wishes that came, as (key, body)."""
    return [(asked.headers.get("idempotency-key"), asked.content) for asked in stripe.of(Kind.GIVE)]


@contextlib.asynccontextmanager
async def refund_world_of(folder: Path, database_url: str) -> AsyncIterator[RefundWorld]:
    """The partners, listening; no service yet."""
    stripe, supplier = StripeFake(), Supplier(patience=3.0)
    async with httpx.AsyncClient(timeout=30) as http, stripe.listening() as url, listening(supplier.app) as shop:
        yield RefundWorld(folder, database_url, stripe, supplier, url, shop, http)


SOON = timedelta(milliseconds=50)


async def nothing_more(shop: Shop, operation_id: str, status: str) -> None:
    """Some polls of the workers later it still stands so."""
    for _ in range(10):
        await asyncio.sleep(0.03)
        assert (await shop.show(operation_id))["status"] == status
