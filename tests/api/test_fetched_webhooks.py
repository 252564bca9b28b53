"""Webhooks that cannot be verified as they come: PayPal's without a certificate at hand, and Mollie's classic ones."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import pytest

from tests.api.desk import Desk, desk_on
from tests.builders import FixedClock
from tests.fakes.ledger import Captured
from tests.fakes.mollie import MollieFake
from tests.providers.stages import key_and_certificate, signed, stage_of

URL = "https://api.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594-5c5f51ab"


@dataclass
class World:
    """PayPal's host for certificates, and Mollie's API, as this service reaches them.

    Args:
        said: what is answered instead.
    """

    clock: FixedClock
    said: httpx.Response | None = None
    asked: list[str] = field(default_factory=list)
    payments: dict[str, dict[str, Any]] = field(default_factory=dict)

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Answers."""
        self.asked.append(str(request.url))
        if self.said is not None:
            return httpx.Response(self.said.status_code, headers=self.said.headers, content=self.said.content)
        if request.url.host == "api.paypal.com":
            return httpx.Response(200, content=key_and_certificate(0)[1].read_bytes())
        found = self.payments.get(request.url.path.rpartition("/")[2])
        return httpx.Response(404) if found is None else httpx.Response(200, json=found)


@pytest.fixture
def world(clock: FixedClock) -> World:
    return World(clock)


@pytest.fixture
async def desk(database_url: str, clock: FixedClock, tmp_path: Path, world: World) -> AsyncIterator[Desk]:
    """The API of one process with a source each of PayPal and Mollie, and the world behind it."""
    async with desk_on(database_url, clock, tmp_path, httpx.MockTransport(world.answer)) as desk:
        paypal = replace(stage_of("paypal").source, name="paypal", identity="paypal")
        options: Any = paypal.options
        sources = {
            "paypal": replace(paypal, options=replace(options, certificates=())),
            "mollie": replace(stage_of("mollie").source, name="mollie", identity="mollie", api="psp"),
        }
        settings = replace(desk.context.settings, sources=MappingProxyType(sources))
        desk.app.take_deliveries(replace(desk.context, settings=settings))
        yield desk


async def operations(desk: Desk) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = (await desk.client.get("/operations")).json()["items"]
    return listed


# --- PayPal ---


async def paypal(desk: Desk, url: str = URL, which: int = 0, changed: dict[str, str] | None = None) -> httpx.Response:
    stage = stage_of("paypal")
    sent = signed((stage.source, stage.other)[which], stage.sample, now=desk.clock.wall())
    named = {**sent.headers, "paypal-cert-url": url, **(changed or {})}
    return await desk.client.post("/webhooks/paypal", content=sent.body, headers=named)


async def test_a_certificate_is_fetched_from_paypal_once(desk: Desk, world: World) -> None:
    answers = [await paypal(desk) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202, 200, 200]
    assert world.asked == [URL]
    [operation] = await operations(desk)
    assert (operation["amount"], operation["currency"]) == (1999, "EUR")


@pytest.mark.parametrize(
    "url",
    [
        "http://api.paypal.com/v1/notifications/certs/CERT-1",
        "https://api.paypal.com.evil.example/v1/notifications/certs/CERT-1",
        "https://evil.example/v1/notifications/certs/CERT-1",
        "https://api.paypal.com@evil.example/v1/notifications/certs/CERT-1",
        "https://api.paypal.com:8443/v1/notifications/certs/CERT-1",
        "https://api.paypal.com/v1/notifications/certs/../../../x",
        "https://127.0.0.1/v1/notifications/certs/CERT-1",
        "file:///etc/passwd",
        "",
    ],
)
async def test_an_address_that_is_not_paypals_is_never_asked(desk: Desk, world: World, url: str) -> None:
    """Trap: the URL stands in a header that nobody has signed; a reader that fetches it fetches anything."""
    assert (await paypal(desk, url)).status_code == 401
    assert (world.asked, await operations(desk)) == ([], [])


@pytest.mark.parametrize(
    "said", [httpx.Response(302, headers={"Location": "http://127.0.0.1/"}), httpx.Response(404), httpx.Response(500)]
)
async def test_a_certificate_that_cannot_be_had_now_is_asked_for_when_paypal_sends_again(
    desk: Desk, world: World, said: httpx.Response
) -> None:
    world.said = said
    refused = await paypal(desk)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
    assert refused.json()["code"] == "unavailable"
    assert world.asked == [URL]
    world.said = None
    assert (await paypal(desk)).status_code == 202


async def test_a_signature_by_another_key_is_refused_also_with_a_certificate_at_hand(desk: Desk, world: World) -> None:
    assert (await paypal(desk, which=1)).status_code == 401
    assert (await paypal(desk)).status_code == 202
    assert (await paypal(desk, which=1)).status_code == 401
    assert len(world.asked) == 2


async def test_headers_that_are_malformed_have_nothing_fetched(desk: Desk, world: World) -> None:
    answers = [
        await paypal(desk, changed={"paypal-transmission-sig": "!"}),
        await paypal(desk, changed={"paypal-auth-algo": "none"}),
    ]
    assert [answer.status_code for answer in answers] == [401, 401]
    assert world.asked == []


# --- Mollie ---


def paid(world: World, order: str = "order-1") -> Captured:
    fake = MollieFake(now=world.clock.now)
    payment = fake.capture(order, 1999)
    world.payments[payment.id] = fake.payment_json(payment)
    return payment


async def classic(desk: Desk, body: str) -> httpx.Response:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return await desk.client.post("/webhooks/mollie", content=body, headers=headers)


async def test_a_classic_webhook_is_the_payment_that_is_read(desk: Desk, world: World) -> None:
    payment = paid(world)
    answers = [await classic(desk, f"id={payment.id}") for _ in range(2)]
    assert [(answer.status_code, answer.content) for answer in answers] == [(200, b"")] * 2
    assert world.asked[0].startswith(f"http://psp.test/v2/payments/{payment.id}")
    [operation] = await operations(desk)
    assert (operation["external_id"], operation["order_id"]) == (payment.id, "order-1")
    assert (operation["amount"], operation["currency"], operation["status"]) == (1999, "EUR", "pending")


async def test_an_id_that_is_unknown_is_answered_as_any_other(desk: Desk, world: World) -> None:
    """Who posts ids learns nothing of which there are."""
    known, unknown = await classic(desk, f"id={paid(world).id}"), await classic(desk, "id=tr_nobody")
    assert (known.status_code, known.content) == (unknown.status_code, unknown.content) == (200, b"")
    assert dict(known.headers).keys() == dict(unknown.headers).keys()
    assert len((await desk.client.get("/events")).json()["items"]) == 1


@pytest.mark.parametrize("status", [401, 429, 500, 503])
async def test_where_mollie_is_away_it_is_to_send_again(desk: Desk, world: World, status: int) -> None:
    world.said = httpx.Response(status)
    assert (await classic(desk, "id=tr_1")).status_code == 503
    world.said = httpx.Response(200, json={"resource": "payment", "id": "tr_other", "status": "paid"})
    assert (await classic(desk, "id=tr_1")).status_code == 503
    world.said = httpx.Response(200, content=b"<html>")
    assert (await classic(desk, "id=tr_1")).status_code == 503
    assert await operations(desk) == []


@pytest.mark.parametrize("body", ["id=tr_1/../../x", "id=tr_1&id=tr_2", "id=", "id=pay_1", "x=1", "id=tr_é"])
async def test_a_form_that_names_no_payment_is_refused_and_nobody_asked(desk: Desk, world: World, body: str) -> None:
    assert (await classic(desk, body)).status_code == 401
    assert world.asked == []


async def test_a_signed_event_is_not_looked_up(desk: Desk, world: World) -> None:
    stage = stage_of("mollie")
    sent = signed(stage.source, stage.sample, now=desk.clock.wall())
    answer = await desk.client.post("/webhooks/mollie", content=sent.body, headers=dict(sent.headers))
    assert (answer.status_code, answer.json()["status"]) == (202, "accepted")
    assert world.asked == []
