"""Every provider that gives money back, by its own protocol, against its fake: lost answers make no second refund."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from app.providers import provider
from app.sandbox import Supplier, listening
from tests.fakes.every import FAKES
from tests.fakes.ledger import Captured
from tests.fakes.server import Fault, Kind
from tests.fakes.stripe import StripeFake
from tests.road.refunding import RefundWorld, assert_given_back

# Adyen has no list, and Shopify's payments have to be told by its own webhooks.
WITH_A_LIST = [name for name in FAKES if name not in {"adyen", "shopify"}]


class AnyWorld(RefundWorld):
    """A world whose money goes back by the protocol of any provider; its payments are told by Standard Webhooks."""

    protocol = ""

    def toml(self, text: str) -> str:
        """The configuration with another protocol, and with a source that needs nothing but a secret."""
        return (
            text.replace('refund = "stripe"', f'refund = "{self.protocol}"')
            .replace('provider = "stripe"', 'provider = "standard-webhooks"')
            .replace('"whsec_of_the_tests"', '"whsec_c2VjcmV0LW9mLXRoZS10ZXN0cy1vbmx5"')
        )


def told(payment: Captured) -> dict[str, Any]:
    """The event that tells of a payment."""
    facts = {
        "payment_id": payment.id,
        "order_id": payment.order_id,
        "amount": payment.amount,
        "currency": payment.currency,
    }
    return {"type": "payment.received", "timestamp": payment.at.isoformat(), "data": facts}


@pytest.mark.parametrize(
    "fault", [Fault(acts=True), Fault(drop=True, acts=True), Fault(drop=True)], ids=["none", "after", "before"]
)
@pytest.mark.parametrize("name", WITH_A_LIST)
async def test_a_refused_purchase_is_refunded_once(tmp_path: Path, database_url: str, name: str, fault: Fault) -> None:
    fake, supplier = FAKES[name](), Supplier(patience=3.0)
    fake.script(Kind.GIVE, fault)
    async with httpx.AsyncClient(timeout=30) as http, fake.listening() as url, listening(supplier.app) as shop_url:
        world = AnyWorld(tmp_path, database_url, cast("StripeFake", fake), supplier, url, shop_url, http)
        world.protocol = name
        async with world.serving() as shop:
            payment = fake.capture("order-1-refused", 1999)
            body = json.dumps(told(payment)).encode()
            signed = provider("standard-webhooks").sign(shop.settings.sources["shop"], body, datetime.now(UTC), "msg_1")
            answer = await http.post(f"{world.url}/webhooks/shop", content=signed.body, headers=dict(signed.headers))
            operation = await shop.settled(answer.json()["operation_id"])
            assert operation["status"] == "refunded", operation["why"]
            assert_given_back(payment, 1999)
