"""What holds for the refunds of Adyen, PayPal, Mollie and Shopify alike, each against its fake over real HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import providers
from app.errors import Rejected
from app.providers.refunds import Answered, Refund, RefundStatus, Refusal, Verdict, Wanted
from app.sandbox.desk import Hold
from tests.fakes.adyen import AdyenFake
from tests.fakes.ledger import Captured, Given
from tests.fakes.mollie import MollieFake
from tests.fakes.paypal import PaypalFake
from tests.fakes.server import Fake, Fault, Kind, carried
from tests.fakes.shopify import ShopifyFake
from tests.providers.refunding import KEY, OTHER_KEY, Desk
from tests.providers.stages import stage_of

FAKES: Mapping[str, type[Fake]] = {
    "adyen": AdyenFake,
    "mollie": MollieFake,
    "paypal": PaypalFake,
    "shopify": ShopifyFake,
}
LISTING = [name for name in FAKES if name != "adyen"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(params=FAKES)
async def desk(request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    async with Desk(request.param, FAKES[request.param]()) as desk:
        yield desk


@pytest.fixture(params=LISTING)
async def listing(request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    """The desk of a provider that has a list."""
    async with Desk(request.param, FAKES[request.param]()) as desk:
        yield desk


def wanted_of(desk: Desk, payment: Captured, amount: int | None = None, key: str = KEY) -> Wanted:
    """The wish to give a payment back; its amount is the fake's own where it is told."""
    event = desk.fake.payment_event(payment)
    return Wanted(payment.id, payment.order_id, amount or payment.amount, payment.currency, key, event)


def by_hand(desk: Desk, payment: Captured, amount: int) -> Given:
    """A refund that somebody else makes."""
    made = Given(desk.fake.fresh("70000"), payment.id, amount, RefundStatus.SUCCEEDED, desk.fake.now())
    return desk.fake.ledger.give(made)


async def test_a_refund_is_made_and_known_by_its_key(desk: Desk) -> None:
    payment = desk.fake.capture("order-1", 1999)
    made = await desk.given(wanted_of(desk, payment))
    assert isinstance(made, Refund)
    assert (made.amount, made.currency, made.key) == (1999, "EUR", KEY)
    assert made.status is (RefundStatus.PENDING if desk.provider == "adyen" else RefundStatus.SUCCEEDED)
    assert [(each.amount, each.key) for each in payment.refunds] == [(1999, KEY)]


async def test_the_list_shows_what_was_paid_and_whose_each_refund_is(listing: Desk) -> None:
    payment = listing.fake.capture("order-1", 1999)
    other = by_hand(listing, payment, 500)
    wanted = wanted_of(listing, payment, 1499)
    made = await listing.given(wanted)
    listed = await listing.looked(wanted)
    assert isinstance(made, Refund)
    assert listed is not None
    assert listed.paid == 1999
    told = {refund.id: (refund.amount, refund.key, refund.status) for refund in listed.refunds}
    succeeded = RefundStatus.SUCCEEDED
    assert told == {other.id: (500, None, succeeded), made.id: (1499, KEY, succeeded)}
    assert all(refund.at is not None for refund in listed.refunds)


async def test_the_same_wish_again_is_the_same_refund(desk: Desk) -> None:
    payment = desk.fake.capture("order-1", 1999)
    wanted = await desk.resting(wanted_of(desk, payment))
    assert desk.refunds.give(wanted) == desk.refunds.give(wanted)
    first, again = await desk.wished(wanted), await desk.wished(wanted)
    assert isinstance(first, Refund)
    assert first == again
    assert len(payment.refunds) == 1


async def test_an_answer_that_was_lost_is_found_in_the_list_or_by_the_same_wish(desk: Desk) -> None:
    payment = desk.fake.capture("order-1", 1999)
    wanted = await desk.resting(wanted_of(desk, payment))
    desk.fake.script(Kind.GIVE, Fault(drop=True, acts=True))
    with pytest.raises(httpx.TransportError):
        await desk.wished(wanted)
    if desk.provider != "adyen":
        listed = await desk.looked(wanted)
        assert listed is not None
        assert [refund.key for refund in listed.refunds] == [KEY]
    assert isinstance(await desk.wished(wanted), Refund)
    assert len(payment.refunds) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize("acts", [False, True])
async def test_trouble_before_and_after_the_effect_is_never_a_final_refusal(
    desk: Desk, status: int, *, acts: bool
) -> None:
    payment = desk.fake.capture("order-1", 1999)
    wanted = wanted_of(desk, payment)
    desk.fake.script(Kind.GIVE, Fault(status, acts=acts))
    said = await desk.given(wanted)
    # None leaves it to the table for all agents, which reads neither of these statuses as final.
    assert said is None or (isinstance(said, Refusal) and said.verdict in {Verdict.UNAVAILABLE, Verdict.UNKNOWN})
    if said is not None:
        assert said.verdict is Verdict.UNAVAILABLE
        assert status == 429
    assert payment.refunded == (1999 if acts else 0)
    if not acts:
        assert isinstance(await desk.given(wanted), Refund)
    assert payment.refunded == 1999


async def test_of_two_wishes_at_once_under_one_key_one_is_told_to_wait(desk: Desk) -> None:
    payment = desk.fake.capture("order-1", 1999)
    wanted, hold = await desk.resting(wanted_of(desk, payment)), Hold()
    desk.fake.script(Kind.GIVE, Fault(acts=True, hold=hold))
    first = asyncio.create_task(desk.wished(wanted))
    await hold.arrived.wait()
    second = await desk.wished(wanted)
    hold.released.set()
    assert isinstance(await first, Refund)
    if desk.provider == "mollie":  # its 409 may as well be a refund of the same amount
        assert isinstance(second, Refusal)
        assert second.verdict is Verdict.LOOK_AGAIN
    else:
        assert isinstance(second, Refusal)
        assert second.verdict is Verdict.UNKNOWN
    assert len(payment.refunds) == 1


async def test_a_key_with_another_amount_makes_no_second_refund(desk: Desk) -> None:
    payment = desk.fake.capture("order-1", 1999)
    assert isinstance(await desk.given(wanted_of(desk, payment, 500)), Refund)
    said = await desk.given(wanted_of(desk, payment, 600))
    assert not isinstance(said, Refund)
    assert payment.refunded == 500


async def test_what_others_have_given_back_sends_us_to_the_list_again(listing: Desk) -> None:
    payment = listing.fake.capture("order-1", 1999)
    wanted = await listing.resting(wanted_of(listing, payment))
    for amount in (500, 1499):  # first a part of it, then all
        by_hand(listing, payment, amount)
        said = await listing.wished(wanted)
        assert isinstance(said, Refusal)
        assert said.verdict is Verdict.LOOK_AGAIN
    assert payment.refunded == 1999


async def test_a_refund_that_is_pending_is_seen_to_succeed_or_to_fail(listing: Desk) -> None:
    listing.fake.outcome = RefundStatus.PENDING
    for status, key in ((RefundStatus.SUCCEEDED, KEY), (RefundStatus.FAILED, OTHER_KEY)):
        payment = listing.fake.capture("order-1", 1999)
        wanted = wanted_of(listing, payment, key=key)
        made = await listing.given(wanted)
        assert isinstance(made, Refund)
        assert made.status is RefundStatus.PENDING
        listing.fake.ledger.settle(made.id, status)
        listed = await listing.looked(wanted)
        assert listed is not None
        assert [(refund.status, refund.key) for refund in listed.refunds] == [(status, key)]


async def test_after_a_refund_that_failed_another_key_makes_one(listing: Desk) -> None:
    payment = listing.fake.capture("order-1", 1999)
    made = await listing.given(wanted_of(listing, payment))
    assert isinstance(made, Refund)
    listing.fake.ledger.settle(made.id, RefundStatus.FAILED)
    again = await listing.given(wanted_of(listing, payment, key=OTHER_KEY))
    assert isinstance(again, Refund)
    assert again.id != made.id
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
    made = await desk.given(wanted_of(desk, payment, wanted))
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
@given(event=JSON)
def test_no_event_of_any_shape_makes_news(name: str, event: Any) -> None:
    assert not providers.provider(name).refund_news(stage_of(name).source, event)


@pytest.mark.parametrize("name", FAKES)
def test_the_event_of_a_payment_tells_of_no_refund(name: str) -> None:
    stage = stage_of(name)
    assert not providers.provider(name).refund_news(stage.source, json.loads(stage.sample))


async def test_a_list_of_another_payment_is_not_read(listing: Desk) -> None:
    first, second = listing.fake.capture("order-1", 1999), listing.fake.capture("order-2", 1999)
    by_hand(listing, first, 100)
    by_hand(listing, second, 100)
    question = listing.refunds.search(wanted_of(listing, first), None)
    assert question is not None
    answered = await carried(listing.client, question)
    if listing.provider != "shopify":  # whose order is asked for by its id alone
        assert listing.refunds.found(wanted_of(listing, second), answered) is None
    assert listing.refunds.found(wanted_of(listing, first), answered) is not None


async def test_what_is_recorded_of_a_wish_is_its_body(desk: Desk) -> None:
    question = desk.refunds.give(await desk.resting(wanted_of(desk, desk.fake.capture("order-1", 1999))))
    assert question.content is not None
    sent = json.loads(question.content)
    assert question.recorded == (sent["variables"] if desk.provider == "shopify" else sent)
    assert KEY in json.dumps(question.recorded)
