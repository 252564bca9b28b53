"""The payment provider tells of payments until it is heard, and gives back what was paid, once."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import httpx
import pytest

from app.sandbox import Deed, PaymentProvider, listening
from app.sandbox.psp import Event


class Listener:
    """Answers webhooks by a script and keeps what it heard."""

    def __init__(self) -> None:
        self.heard: list[httpx.Request] = []
        self.script: list[int | None] = []
        self.told = asyncio.Event()

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.heard.append(request)
        self.told.set()
        status = self.script.pop(0) if self.script else 202
        if status is None:
            raise httpx.ReadTimeout("no answer")
        return httpx.Response(status)


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
async def psp(listener: Listener) -> AsyncIterator[PaymentProvider]:
    def sign(body: bytes, delivery_id: str) -> dict[str, str]:
        return {"webhook-id": delivery_id, "webhook-signature": f"of {len(body)} bytes"}

    async with httpx.AsyncClient(transport=httpx.MockTransport(listener.answer)) as client:
        provider = PaymentProvider(sign, lambda: datetime(2026, 1, 2, tzinfo=UTC), client, redeliver_after=0)
        provider.webhook_url = "http://makegood.test/webhooks/shop"
        yield provider
        await provider.close()


@pytest.fixture
async def desk(psp: PaymentProvider) -> AsyncIterator[httpx.AsyncClient]:
    async with listening(psp.app) as url, httpx.AsyncClient(base_url=url, timeout=5) as client:
        yield client


async def refund(
    desk: httpx.AsyncClient, payment_id: str, amount: int = 100, key: str = "op-1:payment:undo"
) -> httpx.Response:
    wish = {"payment_id": payment_id, "amount": amount, "currency": "EUR"}
    return await desk.post("/refunds", json=wish, headers={"Idempotency-Key": key})


async def test_event_is_redelivered_unchanged_until_acknowledged(psp: PaymentProvider, listener: Listener) -> None:
    listener.script = [503, None, 200]
    await psp.tell(psp.event(psp.capture("order-1", 100)))
    assert [delivery.status for delivery in psp.deliveries] == [503, None, 200]
    assert len({(heard.headers["webhook-id"], heard.content) for heard in listener.heard}) == 1


async def test_second_event_of_a_payment_is_another_one(psp: PaymentProvider) -> None:
    payment = psp.capture("order-1", 100)
    first, second = psp.event(payment), psp.event(payment)
    assert first.id != second.id
    assert [json.loads(event.body)["data"]["payment_id"] for event in (first, second)] == [payment.id] * 2


async def test_forged_event_is_not_what_was_signed(psp: PaymentProvider, listener: Listener) -> None:
    await psp.send(Event("msg_1", "pay_1", b"{}", psp.webhook_url), forged=True)
    assert listener.heard[0].headers["webhook-signature"] == "of 2 bytes"
    assert len(listener.heard[0].content) == 3


async def test_payment_made_over_http_is_told_of(
    psp: PaymentProvider, desk: httpx.AsyncClient, listener: Listener
) -> None:
    made = await desk.post("/payments", json={"order_id": "order-1", "amount": 100})
    assert made.status_code == 201
    async with asyncio.timeout(5):
        await listener.told.wait()
    (payment,) = psp.ledger.of(Deed.CAPTURED)
    assert made.json()["payment_id"] == payment.id
    assert json.loads(listener.heard[0].content)["data"]["payment_id"] == payment.id


async def test_refund_is_made_once_under_its_key(psp: PaymentProvider, desk: httpx.AsyncClient) -> None:
    payment = psp.capture("order-1", 100)
    first, second = await refund(desk, payment.id), await refund(desk, payment.id)
    assert (first.status_code, first.json()) == (200, second.json())
    assert [entry.amount for entry in psp.ledger.of(Deed.REFUNDED)] == [100]


async def test_more_than_was_paid_is_never_given_back(psp: PaymentProvider, desk: httpx.AsyncClient) -> None:
    payment = psp.capture("order-1", 100)
    parts = [await refund(desk, payment.id, 60, "a"), await refund(desk, payment.id, 60, "b")]
    assert [part.status_code for part in parts] == [200, 422]
    assert sum(entry.amount for entry in psp.ledger.of(Deed.REFUNDED)) == 60


@pytest.mark.parametrize(("change", "status"), [({"currency": "USD"}, 422), ({"payment_id": "pay_x"}, 404)])
async def test_refund_of_something_else_is_refused(
    psp: PaymentProvider, desk: httpx.AsyncClient, change: dict[str, str], status: int
) -> None:
    wish = {"payment_id": psp.capture("order-1", 100).id, "amount": 100, "currency": "EUR", **change}
    answer = await desk.post("/refunds", json=wish, headers={"Idempotency-Key": "a"})
    assert answer.status_code == status
    assert psp.ledger.of(Deed.REFUNDED) == []


async def test_refund_loses_its_answer_where_the_order_says_so(psp: PaymentProvider, desk: httpx.AsyncClient) -> None:
    payment = psp.capture("order-1-refused-refund-lost", 100)
    with pytest.raises(httpx.RemoteProtocolError):
        await refund(desk, payment.id)
    assert (await refund(desk, payment.id)).status_code == 200
    assert len(psp.ledger.of(Deed.REFUNDED)) == 1
