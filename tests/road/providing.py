"""A world whose payments are any provider's: its own signed webhooks, its own refund protocol, its fake's books."""

import contextlib
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import httpx

from app.identity import operation_id
from app.providers import provider
from app.providers.refunds import RefundStatus
from app.sandbox import Supplier, listening
from app.settings import Settings
from tests.fakes.ledger import Captured, Given
from tests.fakes.server import Fake
from tests.fakes.stripe import StripeFake
from tests.providers.stages import configuration_of
from tests.road.refunding import RefundWorld, Shop


@dataclass
class ProviderWorld(RefundWorld):
    """The fake of a provider in Stripe's place."""

    provider: str = "stripe"

    @property
    def fake(self) -> Fake:
        """The provider, as it is."""
        return self.stripe

    def toml(self, text: str) -> str:
        """The configuration with the source that the provider's page shows, and with its protocol."""
        shown, environ = configuration_of(self.provider)
        shown = shown.partition("[agents.")[0].replace(f"[sources.{self.provider}]", "[sources.shop]")
        for name, value in environ.items():
            shown = shown.replace(f'"${{{name}}}"', json.dumps(value))
        before, _, rest = text.partition("[sources.shop]")
        behind = "[agents.supplier]" + rest.partition("[agents.supplier]")[2]
        return before + shown + re.sub('refund = "stripe"', f'refund = "{self.provider}"', behind)

    def shop(self, client: httpx.AsyncClient, settings: Settings) -> "ProviderShop":
        """What a test does with a service that serves."""
        return ProviderShop(client, self, settings)


@dataclass
class ProviderShop(Shop):
    """What a test does with a service whose payments are any provider's."""

    async def tell(self, event: dict[str, Any], source: str = "shop") -> httpx.Response:
        """Sends one event as the provider does."""
        of = self.settings.sources[source]
        signed = provider(of.provider).sign(of, json.dumps(event).encode(), datetime.now(UTC), str(uuid4()))
        headers = dict(signed.headers)
        if "X-Shopify-Topic" in headers and "order_id" in event:
            headers["X-Shopify-Topic"] = "refunds/create"
        answer = await self.world.http.post(f"{self.world.url}/webhooks/{source}", content=signed.body, headers=headers)
        assert answer.is_success, answer.text
        return answer

    async def hear_of(self, payment: Captured, source: str = "shop") -> str:
        """Tells of a payment; the id of its operation."""
        await self.tell(self.world.stripe.payment_event(payment), source)
        return str(operation_id(source, payment.id))

    async def tell_of(self, refund: Given, source: str = "shop") -> None:
        """Tells how a refund stands now."""
        await self.tell(self.world.stripe.refund_event(refund), source)


async def given_back(shop: Shop, payment: Captured, id_: str) -> dict[str, Any]:
    """The operation once the payment is given back; a provider that says later that it did so is brought to it."""
    fake = shop.world.stripe
    if fake.tells_later:
        await shop.until_status(id_, "waiting")
        await shop.tell_of(fake.ledger.settle(pending(payment).id, RefundStatus.SUCCEEDED))
    operation = await shop.settled(id_)
    assert operation["status"] == "refunded", operation["why"]
    return operation


def pending(payment: Captured) -> Given:
    """The one refund of a payment that is under way."""
    [refund] = [each for each in payment.refunds if each.status is RefundStatus.PENDING]
    return refund


@contextlib.asynccontextmanager
async def world_with(folder: Path, database_url: str, name: str, fake: Fake) -> AsyncIterator[ProviderWorld]:
    """A provider and the supplier, listening; no service yet."""
    supplier = Supplier(patience=3.0)
    async with httpx.AsyncClient(timeout=30) as http, fake.listening() as url, listening(supplier.app) as shop_url:
        # A world speaks of Stripe; what it asks of it, every fake has.
        stripe = cast("StripeFake", fake)
        yield ProviderWorld(folder, database_url, stripe, supplier, url, shop_url, http, provider=name)
