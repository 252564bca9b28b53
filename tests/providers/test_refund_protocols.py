"""What holds for the refunds of Adyen, PayPal, Mollie and Shopify alike, beside what holds for those of all providers."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app import providers
from app.errors import Rejected
from app.providers.refunds import Answered, Refund, RefundStatus, Refusal, Verdict, Wanted
from tests.fakes.adyen import AdyenFake
from tests.fakes.mollie import MollieFake
from tests.fakes.paypal import PaypalFake
from tests.fakes.server import Fake, Fault, Kind, carried
from tests.fakes.shopify import ShopifyFake
from tests.fakes.teller import KEY
from tests.providers.refunding import JSON, Desk
from tests.providers.stages import stage_of

FAKES: Mapping[str, type[Fake]] = {
    "adyen": AdyenFake,
    "mollie": MollieFake,
    "paypal": PaypalFake,
    "shopify": ShopifyFake,
}
LISTING = [name for name in FAKES if name != "adyen"]


@pytest.fixture(params=FAKES)
async def desk(request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    async with Desk(request.param, FAKES[request.param]()) as desk:
        yield desk


@pytest.fixture(params=LISTING)
async def listing(request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    """The desk of a provider that has a list."""
    async with Desk(request.param, FAKES[request.param]()) as desk:
        yield desk


async def test_the_list_shows_what_was_paid_and_whose_each_refund_is(listing: Desk) -> None:
    payment = listing.fake.capture("order-1", 1999)
    other = listing.fake.give_by_hand(payment, 500)
    wanted = listing.wanted(payment, 1499)
    made = await listing.given(wanted)
    listed = await listing.looked(wanted)
    assert isinstance(made, Refund)
    assert listed is not None
    assert listed.paid == 1999
    told = {refund.id: (refund.amount, refund.key, refund.status) for refund in listed.refunds}
    succeeded = RefundStatus.SUCCEEDED
    assert told == {other.id: (500, None, succeeded), made.id: (1499, KEY, succeeded)}
    assert all(refund.at is not None for refund in listed.refunds)


async def test_an_answer_that_was_lost_is_found_in_the_list_or_by_the_same_wish(desk: Desk) -> None:
    payment = desk.fake.capture("order-1", 1999)
    wanted = await desk.resting(desk.wanted(payment))
    desk.fake.script(Kind.GIVE, Fault(drop=True, acts=True))
    with pytest.raises(httpx.TransportError):
        await desk.wished(wanted)
    if desk.provider != "adyen":
        listed = await desk.looked(wanted)
        assert listed is not None
        assert [refund.key for refund in listed.refunds] == [KEY]
    assert isinstance(await desk.wished(wanted), Refund)
    assert len(payment.refunds) == 1


async def test_what_others_have_given_back_sends_us_to_the_list_again(listing: Desk) -> None:
    payment = listing.fake.capture("order-1", 1999)
    wanted = await listing.resting(listing.wanted(payment))
    for amount in (500, 1499):  # first a part of it, then all
        listing.fake.give_by_hand(payment, amount)
        said = await listing.wished(wanted)
        assert isinstance(said, Refusal)
        assert said.verdict is Verdict.LOOK_AGAIN
    assert payment.refunded == 1999


# In the provider's own minor units, and in those of ISO 4217.
AMOUNTS = {
    "EUR": (1999, 1999),
    "JPY": (500, 500),
    "KWD": (1230, 1230),
    "ISK": (1000, 1000),
    "HUF": (150000, 150000),
    "CLP": (1000, 1000),
}


@pytest.mark.parametrize("currency", AMOUNTS)
async def test_amounts_are_exact_in_every_currency(desk: Desk, currency: str) -> None:
    own = wanted = AMOUNTS[currency][1]
    if desk.provider == "adyen":
        own *= 100 if currency in {"ISK", "CLP"} else 1
    payment = desk.fake.capture("order-1", own, currency)
    made = await desk.given(desk.wanted(payment, wanted))
    assert isinstance(made, Refund)
    assert (made.amount, made.currency) == (wanted, currency)
    assert payment.left == 0


def test_an_amount_that_a_provider_cannot_write_is_never_rounded() -> None:
    refunds = providers.provider("paypal").refunds
    assert refunds is not None
    with pytest.raises(Rejected, match="cannot be written"):
        refunds.give(Wanted("CAP1", "order-1", 150050, "HUF", KEY, {}))


@pytest.mark.parametrize("payment_id", ["../v1/x", "a/b?c=d#e", "ü"])
@pytest.mark.parametrize("name", ["adyen", "mollie", "paypal"])
def test_an_id_never_leads_to_another_path(name: str, payment_id: str) -> None:
    refunds = providers.provider(name).refunds
    assert refunds is not None
    event = {"notificationItems": [{"NotificationRequestItem": {"merchantAccountCode": "A"}}]}
    wanted = Wanted(payment_id, "order-1", 1, "EUR", KEY, event)
    for question in (refunds.give(wanted), refunds.search(wanted, None)):
        if question is not None:
            folder = question.path.partition("/payments/")[2].removeprefix("captures/").partition("/refund")[0]
            assert not set("/?#").intersection(folder.partition("?embed")[0])
            assert question.path.isascii()


@pytest.mark.parametrize("payment_id", [".", "..", "", "a\x00b"])
@pytest.mark.parametrize("name", ["adyen", "mollie", "paypal"])
def test_what_can_be_no_part_of_a_path_is_not_asked_for(name: str, payment_id: str) -> None:
    refunds = providers.provider(name).refunds
    assert refunds is not None
    event = {"notificationItems": [{"NotificationRequestItem": {"merchantAccountCode": "A"}}]}
    with pytest.raises(Rejected):
        refunds.give(Wanted(payment_id, "order-1", 1, "EUR", KEY, event))


@pytest.mark.parametrize("name", FAKES)
@given(said=JSON, status=st.sampled_from([200, 201, 400, 409, 422, 500]))
def test_no_answer_of_any_shape_is_taken_for_a_refund(name: str, said: Any, status: int) -> None:
    refunds = providers.provider(name).refunds
    assert refunds is not None
    wanted = Wanted("1", "order-1", 1, "EUR", KEY, said)
    assert not isinstance(refunds.given(wanted, Answered(status, {}, said)), Refund)
    assert refunds.found(wanted, Answered(200, {}, said)) is None


@pytest.mark.parametrize("name", FAKES)
@settings(deadline=None)  # the first example makes the stage, with its keys
@given(event=JSON)
def test_no_event_of_any_shape_makes_news(name: str, event: Any) -> None:
    assert not providers.provider(name).refund_news(stage_of(name).source, event)


async def test_a_list_of_another_payment_is_not_read(listing: Desk) -> None:
    first, second = listing.fake.capture("order-1", 1999), listing.fake.capture("order-2", 1999)
    listing.fake.give_by_hand(first, 100)
    listing.fake.give_by_hand(second, 100)
    question = listing.refunds.search(listing.wanted(first), None)
    assert question is not None
    answered = await carried(listing.client, question)
    if listing.provider != "shopify":  # whose order is asked for by its id alone
        assert listing.refunds.found(listing.wanted(second), answered) is None
    assert listing.refunds.found(listing.wanted(first), answered) is not None
