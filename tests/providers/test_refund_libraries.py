"""The providers' own libraries as judges of the fakes and of our requests: both ask the same thing in the same fields."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest
import razorpay
import stripe
from razorpay.errors import BadRequestError
from square import AsyncSquare
from square.core.api_error import ApiError

from app import providers
from app.providers.refunds import Payments, Refund
from tests.fakes.razorpay import RazorpayFake
from tests.fakes.server import Asked, Fault, Kind
from tests.fakes.square import SquareFake
from tests.fakes.stripe import StripeFake
from tests.fakes.teller import KEY, OTHER_KEY, Teller, telling
from tests.providers.stages import stage_of

NOW = datetime(2026, 1, 5, 9, 31, tzinfo=UTC)
# Stripe's library hands its bodies to httpx in an older way.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

SINCE, UNTIL = NOW - timedelta(hours=24), NOW + timedelta(seconds=1)


def now() -> datetime:
    return NOW


def payments_of(name: str) -> Payments:
    payments = providers.provider(name).payments
    assert payments is not None
    return payments


async def ask_for_payments(teller: Teller, name: str, page: str | None = None) -> None:
    question = payments_of(name).search(stage_of(name).source, SINCE, UNTIL, page)
    assert question is not None
    await teller.client.request(question.method, question.path)


def said(asked: Asked) -> Any:
    """What a request says, without what a library says of itself."""
    names = ("idempotency-key", "x-refund-idempotency", "content-type")
    headers = {name: asked.headers[name].lower() for name in names if name in asked.headers}
    if asked.headers.get("content-type", "").startswith("application/json"):
        body = asked.json if asked.content else None
    else:
        body = sorted(parse_qsl(asked.content.decode()))
    return asked.method, asked.path, sorted(asked.query), headers if asked.method == "POST" else {}, body or None


@asynccontextmanager
async def stripe_client(teller: Teller) -> AsyncIterator[stripe.StripeClient]:
    transport = stripe.HTTPXClient()
    base = str(teller.client.base_url).rstrip("/")
    yield stripe.StripeClient("sk_test_1", base_addresses={"api": base}, http_client=transport)
    await transport._client_async.aclose()


async def test_stripes_library_asks_for_the_same_refund() -> None:
    async with telling("stripe", StripeFake(now=now)) as teller, stripe_client(teller) as client:
        payment = teller.fake.capture("order-1", 1999)
        ours = await teller.give(teller.wanted(payment, 500))
        theirs = await client.v1.refunds.create_async(
            {"payment_intent": payment.id, "amount": 500, "metadata": {"makegood_key": KEY}},
            {"idempotency_key": KEY},
        )
        assert isinstance(ours, Refund)
        assert (theirs.id, theirs.amount, theirs.status) == (ours.id, 500, "succeeded")
        assert said(teller.fake.asked[0]) == said(teller.fake.asked[1])
        assert payment.refunded == 500


async def test_stripes_library_pages_through_the_same_lists() -> None:
    async with telling("stripe", StripeFake(now=now)) as teller, stripe_client(teller) as client:
        payment = teller.fake.capture("order-1", 1999)
        for _ in range(105):
            teller.fake.give_by_hand(payment, 10)
        wanted = teller.wanted(payment)
        ours = await teller.look(wanted)
        asked = [said(each) for each in teller.fake.asked]
        first = await client.v1.refunds.list_async({"payment_intent": payment.id, "limit": 100})
        theirs = [refund.id async for refund in first.auto_paging_iter()]
        assert ours is not None
        assert theirs == [refund.id for refund in ours]
        assert asked == [said(each) for each in teller.fake.asked[2:]]


async def test_stripes_library_asks_for_the_same_payments() -> None:
    async with telling("stripe", StripeFake(now=now)) as teller, stripe_client(teller) as client:
        payment = teller.fake.capture("order-1", 1999)
        await ask_for_payments(teller, "stripe")
        await ask_for_payments(teller, "stripe", "/v1/events")
        created: Any = {"gte": int(SINCE.timestamp()), "lt": int(UNTIL.timestamp())}
        charges = await client.v1.charges.list_async(
            {"created": created, "limit": 50, "expand": ["data.payment_intent"]}
        )
        events = await client.v1.events.list_async(
            {"created": created, "limit": 50, "types": ["payment_intent.succeeded"]}
        )
        [charge], [event] = charges.data, events.data
        assert isinstance(charge.payment_intent, stripe.PaymentIntent)
        assert charge.payment_intent.id == payment.id
        assert event.type == "payment_intent.succeeded"
        asked = [said(each) for each in teller.fake.asked]
        assert asked[:2] == asked[2:]


async def test_stripes_library_knows_the_errors_of_the_fake() -> None:
    async with telling("stripe", StripeFake(now=now)) as teller, stripe_client(teller) as client:
        payment = teller.fake.capture("order-1", 1999)
        refunds = client.v1.refunds
        with pytest.raises(stripe.InvalidRequestError) as beyond:
            await refunds.create_async({"payment_intent": payment.id, "amount": 2000})
        assert (beyond.value.code, beyond.value.param) == (None, "amount")
        await refunds.create_async({"payment_intent": payment.id, "amount": 1999}, {"idempotency_key": KEY})
        with pytest.raises(stripe.InvalidRequestError) as gone:
            await refunds.create_async({"payment_intent": payment.id, "amount": 1})
        assert gone.value.code == "charge_already_refunded"
        with pytest.raises(stripe.IdempotencyError):
            await refunds.create_async({"payment_intent": payment.id, "amount": 1}, {"idempotency_key": KEY})
        teller.fake.script(Kind.GIVE, Fault(429))
        with pytest.raises(stripe.RateLimitError):
            await refunds.create_async({"payment_intent": payment.id, "amount": 1}, {"idempotency_key": OTHER_KEY})


async def test_squares_library_asks_for_the_same_refund_and_the_same_lists() -> None:
    async with telling("square", SquareFake(now=now)) as teller, httpx.AsyncClient() as transport:
        client = AsyncSquare(base_url=str(teller.client.base_url).rstrip("/"), token="t", httpx_client=transport)
        payment = teller.fake.capture("order-1", 1999)
        wanted = teller.wanted(payment, 500)
        ours = await teller.give(wanted)
        reason = f"The order was not carried out (makegood_key {KEY})"
        theirs = await client.refunds.refund_payment(
            idempotency_key=KEY,
            payment_id=payment.id,
            amount_money={"amount": 500, "currency": "EUR"},
            reason=reason,
        )
        assert isinstance(ours, Refund)
        assert theirs.refund is not None
        assert (theirs.refund.id, theirs.refund.status, theirs.refund.reason) == (
            ours.id,
            "COMPLETED",
            f"(makegood_key {KEY})",
        )
        for _ in range(110):
            teller.fake.give_by_hand(payment, 10)
        listed = await teller.look(wanted)
        made_at = wanted.event["data"]["object"]["payment"]["created_at"]
        pager = await client.refunds.list(sort_order="ASC", limit=100, begin_time=made_at)
        assert listed is not None
        assert [refund.id async for refund in pager] == [refund.id for refund in listed]
        await ask_for_payments(teller, "square")
        begin, end = "2026-01-04T09:31:00Z", "2026-01-05T09:31:01Z"
        [paid] = [
            each
            async for each in await client.payments.list(begin_time=begin, end_time=end, sort_order="ASC", limit=50)
        ]
        assert (paid.id, paid.status) == (payment.id, "COMPLETED")
        asked = [said(each) for each in teller.fake.asked]
        assert asked[0] == asked[1]
        assert asked[2:4] == asked[4:6]
        assert asked[6] == asked[7]


async def test_squares_library_knows_the_errors_of_the_fake() -> None:
    async with telling("square", SquareFake(now=now)) as teller, httpx.AsyncClient() as transport:
        client = AsyncSquare(base_url=str(teller.client.base_url).rstrip("/"), token="t", httpx_client=transport)
        payment = teller.fake.capture("order-1", 1999)
        with pytest.raises(ApiError) as beyond:
            await client.refunds.refund_payment(
                idempotency_key=KEY, payment_id=payment.id, amount_money={"amount": 2000, "currency": "EUR"}
            )
        assert beyond.value.status_code == 400
        assert [error.code for error in beyond.value.errors] == ["REFUND_AMOUNT_INVALID"]


async def test_razorpays_library_asks_for_the_same_refund_and_the_same_lists() -> None:
    async with telling("razorpay", RazorpayFake(now=now)) as teller:
        client = razorpay.Client(auth=("id", "secret"), base_url=str(teller.client.base_url).rstrip("/"))
        payment = teller.fake.capture("order-1", 1999)
        wanted = teller.wanted(payment, 500)
        ours = await teller.give(wanted)
        body = {"amount": 500, "speed": "normal", "notes": {"makegood_key": KEY}}
        headers = {"X-Refund-Idempotency": KEY}
        theirs = await asyncio.to_thread(client.payment.refund, payment.id, body, headers=headers)
        await teller.look(wanted)
        listed = await asyncio.to_thread(client.payment.fetch_multiple_refund, payment.id, {"count": 100})
        await ask_for_payments(teller, "razorpay")
        window = {"from": int(SINCE.timestamp()), "to": int(NOW.timestamp()), "count": 100}
        paid = await asyncio.to_thread(client.payment.all, window)
        with pytest.raises(BadRequestError, match="greater than"):
            await asyncio.to_thread(client.payment.refund, payment.id, {"amount": 1500})
        client.session.close()
        assert isinstance(ours, Refund)
        assert (theirs["id"], theirs["status"]) == (ours.id, "processed")
        assert [refund["id"] for refund in listed["items"]] == [ours.id]
        assert [(each["id"], each["amount_refunded"]) for each in paid["items"]] == [(payment.id, 500)]
        asked = [said(each) for each in teller.fake.asked]
        assert [asked[0], asked[2], asked[4]] == [asked[1], asked[3], asked[5]]
