"""An API process for the tests, and what a test does to the operations behind it."""

import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx

from app import providers
from app.agents import Agents
from app.agents.pages import Pages
from app.api import Api, Context, create_app
from app.control import Control
from app.db.claim import Claim
from app.db.engine import create
from app.db.sagas import Sagas
from app.db.store import Store
from app.db.wakeup import Wakeup
from app.fetching import Fetching
from app.intake import Intake
from app.saga import advance
from app.saga.model import LastError, Operation, Outcome
from app.saga.signals import Signal, StepDone, StepRejected, StepUnavailable
from app.settings import load
from tests.builders import FixedClock

READER = "mg_reader"
OPERATOR = "mg_operator"
SECRET = "whsec_c2VjcmV0LW9mLXRoZS10ZXN0cw=="

CONFIG = f"""
[server]
max_body = 2000

[[api_keys]]
name = "shop"
scope = "read"
sha256 = "{hashlib.sha256(READER.encode()).hexdigest()}"

[[api_keys]]
name = "anna"
scope = "operate"
sha256 = "{hashlib.sha256(OPERATOR.encode()).hexdigest()}"

[sources.shop]
provider = "standard-webhooks"
secrets = ["{SECRET}"]
saga = "purchase"

[agents.psp]
base_url = "http://psp.test"

[agents.supplier]
base_url = "http://supplier.test"

[sagas.purchase]
[[sagas.purchase.steps]]
name = "payment"
undo = {{ agent = "psp", method = "POST", path = "/refunds" }}

[[sagas.purchase.steps]]
name = "purchase"
do = {{ agent = "supplier", method = "POST", path = "/purchases" }}
undo = {{ agent = "supplier", method = "POST", path = "/purchases/{{operation_id}}/cancel" }}
"""

UNAVAILABLE = StepUnavailable(LastError(Outcome.UNAVAILABLE, "busy", 503))
REJECTED = StepRejected(LastError(Outcome.REJECTED, "sold out", 422))


@dataclass
class Desk:
    """One API process. `client` has an operator's key."""

    app: Api
    client: httpx.AsyncClient
    context: Context
    store: Store
    clock: FixedClock

    def payment(self, external_id: str = "pay_1", **data: Any) -> dict[str, Any]:
        """The JSON of a webhook that tells of a payment."""
        told = {"payment_id": external_id, "order_id": "order-1", "amount": 1999, "currency": "EUR", **data}
        return {"type": "payment.received", "timestamp": "2026-01-01T11:59:59Z", "data": told}

    async def deliver(
        self, event: object, delivery_id: str = "msg_1", headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """Posts a signed webhook; what is no bytes yet is sent as JSON."""
        body = event if isinstance(event, bytes) else json.dumps(event).encode()
        return await self.client.post(
            "/webhooks/shop", content=body, headers={**self.signed(body, delivery_id), **(headers or {})}
        )

    def signed(self, body: bytes, delivery_id: str = "msg_1") -> Mapping[str, str]:
        """The headers that sign a body."""
        source = self.context.settings.sources["shop"]
        return providers.provider(source.provider).sign(source, body, self.clock.wall(), delivery_id).headers

    async def pay(self, external_id: str = "pay_1", **data: Any) -> str:
        """A payment that is told of; the id of its operation. The clock goes on, so that the next one is newer."""
        answer = await self.deliver(self.payment(external_id, **data), f"msg_{external_id}")
        assert answer.status_code == 202, answer.text
        self.clock.advance(timedelta(seconds=1))
        return str(answer.json()["operation_id"])

    async def claim(self, most: int = 1) -> list[Operation]:
        """What a worker claims that is due."""
        now = self.clock.now()
        wanted = Claim(uuid4(), 0, most, "worker-1", now, now + timedelta(seconds=30))
        return [claimed.operation for claimed in await self.store.claim(wanted)]

    async def record(self, operation: Operation, signal: Signal) -> bool:
        """What a worker records, decided on the operation as given."""
        saga = await self.context.sagas.get(operation.saga_hash)
        transition = advance(saga, operation, signal, self.clock.now(), 0.5)
        assert transition is not None
        return await self.store.record(transition, actor="worker-1")

    async def work(self, signal: Signal) -> Operation:
        """Claims what is due next and records what came of it."""
        [operation] = await self.claim()
        assert await self.record(operation, signal)
        stored = await self.store.load(operation.id)
        assert stored is not None
        return stored

    async def failed(self, external_id: str = "pay_1", **data: Any) -> str:
        """An operation in `error`."""
        id_ = await self.pay(external_id, **data)
        assert (await self.work(UNAVAILABLE)).id == UUID(id_)
        return id_

    async def succeeded(self, external_id: str = "pay_1", **data: Any) -> str:
        """An operation that has succeeded."""
        id_ = await self.pay(external_id, **data)
        assert (await self.work(StepDone({"ref": "A"}))).id == UUID(id_)
        return id_

    async def held(self, external_id: str = "pay_1", **data: Any) -> str:
        """An operation that is held: the supplier has refused, and so has the provider."""
        id_ = await self.pay(external_id, **data)
        await self.work(REJECTED)
        assert (await self.work(REJECTED)).id == UUID(id_)
        return id_

    async def shown(self, id_: str) -> dict[str, Any]:
        """The operation as the API shows it."""
        answer = await self.client.get(f"/operations/{id_}")
        assert answer.status_code == 200, answer.text
        shown: dict[str, Any] = answer.json()
        return shown


def client_for(app: Api, key: str | None) -> httpx.AsyncClient:
    """A client of an application in this process."""
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://makegood.test", headers=headers)


@contextlib.asynccontextmanager
async def desk_on(
    database_url: str, clock: FixedClock, folder: Path, partner: httpx.AsyncBaseTransport | None = None
) -> AsyncIterator[Desk]:
    """An API process over a database, with no worker in it.

    Args:
        partner: who answers what the API itself asks of agents and of others.
    """
    path = folder / "makegood.toml"
    path.write_text(CONFIG)
    settings = load(path, {}, providers.known())
    engine = create(database_url, 4)
    sagas = Sagas(engine, settings.limits())
    store = Store(database_url, 1, clock)
    wakeup = Wakeup(database_url)
    intake = Intake(engine, store, sagas, settings.sagas, clock, wakeup)

    async def ready() -> None:
        """It is always ready."""

    agents = Agents(settings.agents, clock, partner)
    context = Context(
        settings=settings,
        engine=engine,
        clock=clock,
        sagas=sagas,
        intake=intake,
        control=Control(engine, store, sagas, clock, wakeup),
        fetching=Fetching(agents, Pages(partner), clock),
        readiness=ready,
    )
    app = create_app(context)
    try:
        async with client_for(app, OPERATOR) as client:
            yield Desk(app, client, context, store, clock)
    finally:
        context.stopping.set()
        await agents.aclose()
        await store.close()
        await engine.dispose()
