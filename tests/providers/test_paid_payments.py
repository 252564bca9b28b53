"""What PayPal, Mollie and Shopify list as paid, read as the events that would have told of it."""

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app import providers
from app.providers import Delivery
from app.providers.reading import Payment, read
from app.providers.refunds import Answered, PaidPage, RefundStatus
from app.settings import Source
from tests.fakes.mollie import MollieFake
from tests.fakes.paypal import PaypalFake
from tests.fakes.server import Fake, Fault, Kind, carried
from tests.fakes.shopify import ShopifyFake
from tests.fakes.teller import KEY
from tests.providers.refunding import JSON, Desk
from tests.providers.stages import stage_of

FAKES: dict[str, type[Fake]] = {"mollie": MollieFake, "paypal": PaypalFake, "shopify": ShopifyFake}
BEGIN = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
SINCE, UNTIL = BEGIN - timedelta(hours=1), BEGIN + timedelta(hours=23)


class Clock:
    """A fake's time, which a test sets."""

    def __init__(self) -> None:
        self.at = BEGIN

    def __call__(self) -> datetime:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=FAKES)
async def desk(request: pytest.FixtureRequest, clock: Clock) -> AsyncIterator[Desk]:
    async with Desk(request.param, FAKES[request.param](now=clock)) as desk:
        yield desk


def source_of(desk: Desk) -> Source:
    return stage_of(desk.provider).source


def told(source: Source, pages: Sequence[PaidPage]) -> list[Payment]:
    """What the source reads in all bodies."""
    readings = [read(source, Delivery(None), body) for page in pages for body in page.bodies]
    for reading in readings:
        assert isinstance(reading, Payment), reading
    return [reading for reading in readings if isinstance(reading, Payment)]


async def test_the_same_payment_is_the_same_event_whenever_it_is_read(desk: Desk) -> None:
    payment = desk.fake.capture("order-1", 1999)
    first = told(source_of(desk), await desk.paid(source_of(desk), SINCE, UNTIL))
    desk.fake.give_by_hand(payment, 500)
    again = told(source_of(desk), await desk.paid(source_of(desk), SINCE, UNTIL))
    assert first == again
    assert first[0].delivery_id is not None
    assert payment.id in first[0].delivery_id


@pytest.mark.parametrize("currency", ["JPY", "KWD", "ISK", "HUF"])
async def test_amounts_are_exact(desk: Desk, currency: str) -> None:
    amount = 150000 if currency == "HUF" else 1230
    desk.fake.capture("order-1", amount, currency)
    [payment] = told(source_of(desk), await desk.paid(source_of(desk), SINCE, UNTIL))
    assert (payment.amount, payment.currency) == (amount, currency)


async def test_nothing_paid_is_one_empty_page(desk: Desk) -> None:
    assert not told(source_of(desk), await desk.paid(source_of(desk), SINCE, UNTIL))


async def test_a_page_that_could_not_be_had_is_not_an_empty_one(desk: Desk) -> None:
    desk.fake.capture("order-1", 1999)
    payments = desk.teller.payments
    assert payments is not None
    for status in (429, 503):
        desk.fake.script(Kind.PAYMENTS, Fault(status))
        question = payments.search(source_of(desk), SINCE, UNTIL, None)
        assert question is not None
        answered = await carried(desk.client, question)
        assert answered.status == status or payments.found(source_of(desk), answered) is None


@pytest.mark.parametrize("name", FAKES)
@settings(deadline=None)  # the first example makes the stage, with its keys
@given(said=JSON)
def test_no_answer_of_any_shape_is_taken_for_payments(name: str, said: Any) -> None:
    payments = providers.provider(name).payments
    assert payments is not None
    assert payments.found(stage_of(name).source, Answered(200, {}, said)) is None


@pytest.mark.parametrize("name", FAKES)
@settings(deadline=None)  # the first example makes the stage, with its keys
@given(page=st.text(max_size=40))
def test_any_token_of_a_page_makes_a_request_or_the_end(name: str, page: str) -> None:
    payments = providers.provider(name).payments
    assert payments is not None
    question = payments.search(stage_of(name).source, SINCE, UNTIL, page.encode("utf-8", "replace").decode())
    assert question is None or question.path.isascii()


async def test_paypals_search_goes_31_days_at_a_time(clock: Clock) -> None:
    async with Desk("paypal", PaypalFake(now=clock)) as desk:
        days = (0, 30, 31, 45, 62, 99)
        paid = []
        for day in days:
            clock.at = BEGIN + timedelta(days=day)
            paid.append(desk.fake.capture(f"order-{day}", 1999).id)
        pages = await desk.paid(source_of(desk), SINCE, BEGIN + timedelta(days=100))
        assert {each.external_id for each in told(source_of(desk), pages)} == set(paid)
        assert len(desk.fake.of(Kind.PAYMENTS)) == 4


async def test_what_was_paid_out_or_is_pending_is_no_payment_at_paypal(clock: Clock) -> None:
    fake = PaypalFake(now=clock)
    payments = providers.provider("paypal").payments
    assert payments is not None
    async with Desk("paypal", fake) as desk:
        fake.capture("order-1", 1999)
        question = payments.search(source_of(desk), SINCE, UNTIL, None)
        assert question is not None
        answered = await carried(desk.client, question)
        [one] = answered.json["transaction_details"]
        for key, value in (
            ("transaction_event_code", "T0400"),
            ("transaction_status", "P"),
            ("transaction_status", "D"),
            ("transaction_amount", {"value": "-19.99", "currency_code": "EUR"}),
            ("transaction_id", None),
        ):
            changed = {"transaction_info": one["transaction_info"] | {key: value}}
            page = payments.found(
                source_of(desk), Answered(200, {}, answered.json | {"transaction_details": [changed]})
            )
            assert page is not None
            assert page.bodies == ()


async def test_mollies_list_is_left_where_it_is_too_old(clock: Clock) -> None:
    async with Desk("mollie", MollieFake(now=clock)) as desk:
        for day in range(100):
            clock.at = BEGIN - timedelta(days=100 - day)
            desk.fake.capture(f"order-{day}", 1999)
        pages = await desk.paid(source_of(desk), SINCE, UNTIL)
        assert len(pages) == 1
        payments = told(source_of(desk), pages)
        # The list knows no times: whoever reads it keeps to what was paid in them.
        assert all(each.occurred_at is not None and each.occurred_at < SINCE for each in payments)


async def test_mollies_payments_that_are_not_paid_are_left_out_and_classic_ones_are_themselves(clock: Clock) -> None:
    fake = MollieFake(now=clock)
    async with Desk("mollie", fake) as desk:
        fake.statuses[fake.capture("order-1", 1999).id] = "authorized"
        paid = fake.capture("order-2", 1999)
        classic = replace(source_of(desk), secrets=())
        [page] = await desk.paid(classic, SINCE, UNTIL)
        assert [json.loads(body)["id"] for body in page.bodies] == [paid.id]
        assert told(classic, [page])[0].delivery_id is None


async def test_an_order_of_shopifys_brings_its_refunds_along(clock: Clock) -> None:
    async with Desk("shopify", ShopifyFake(now=clock)) as desk:
        payment = desk.fake.capture("#1001", 1999)
        refund = desk.fake.give_by_hand(payment, 500)
        refund.key = KEY
        [page] = await desk.paid(source_of(desk), SINCE, UNTIL)
        [news] = desk.teller.refund_news(source_of(desk), json.loads(page.bodies[0]))
        assert news.payment_id == payment.id
        assert (news.refund.id, news.refund.amount, news.refund.key) == (refund.id, 500, KEY)
        assert news.refund.status is RefundStatus.SUCCEEDED


def test_adyen_lists_no_payments() -> None:
    assert providers.provider("adyen").payments is None
