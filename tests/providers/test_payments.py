"""What holds for the payments of every provider that can be asked for them, each read from its fake over real HTTP."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from app import providers
from app.providers import Delivery
from app.providers.reading import Payment, read
from app.providers.refunds import Answered, PaidPage
from app.saga.model import Json
from app.settings import Source
from tests.fakes.every import FAKES
from tests.fakes.server import Fake, carried
from tests.fakes.stripe import StripeFake
from tests.providers.stages import stage_of

NOW = datetime(2026, 1, 5, 9, 31, tzinfo=UTC)
SINCE = NOW - timedelta(hours=24)

ASKED = sorted(name for name in FAKES if providers.provider(name).payments is not None)


class Clock:
    """A clock that a test moves."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at


async def pages_of(fake: Fake, source: Source, since: datetime = SINCE, until: datetime = NOW) -> list[PaidPage]:
    """All pages of what was paid from `since` on, before `until`."""
    payments = providers.provider(source.provider).payments
    assert payments is not None
    pages: list[PaidPage] = []
    async with fake.listening() as base_url, httpx.AsyncClient(base_url=base_url) as client:
        while not pages or pages[-1].next_page is not None:
            question = payments.search(source, since, until, pages[-1].next_page if pages else None)
            if question is None:
                break
            page = payments.found(source, await carried(client, question))
            assert page is not None
            pages.append(page)
            assert len(pages) < 100
    return pages


def read_all(source: Source, pages: list[PaidPage]) -> dict[str, Payment]:
    """The payments of the time by their ids; each page's bodies are payments, every one of them."""
    found = [read(source, Delivery(None), body) for page in pages for body in page.bodies]
    paid = [each for each in found if isinstance(each, Payment)]
    assert len(paid) == len(found)
    # Some lists cannot be asked for times.
    return {each.external_id: each for each in paid if each.occurred_at is None or SINCE <= each.occurred_at < NOW}


@pytest.mark.parametrize("name", ASKED)
async def test_a_payment_is_read_as_its_webhook_is(name: str) -> None:
    clock = Clock(NOW - timedelta(minutes=5))
    fake, stage = FAKES[name](now=clock), stage_of(name)
    payment = fake.capture("order-1", 1999)
    [(external_id, found)] = read_all(stage.source, await pages_of(fake, stage.source)).items()
    assert external_id == payment.id
    assert (found.order_id, found.amount, found.currency) == ("order-1", 1999, "EUR")
    assert found.occurred_at is None or SINCE <= found.occurred_at <= NOW
    hint = Delivery(None, min(stage.source.fields.payment_events))  # one has its type in a header alone
    told = read(stage.source, hint, json.dumps(fake.payment_event(payment)).encode())
    assert isinstance(told, Payment)
    same = (told.external_id, told.order_id, told.amount, told.currency, told.event_type)
    assert same == (found.external_id, found.order_id, found.amount, found.currency, found.event_type)


@pytest.mark.parametrize("name", ASKED)
async def test_the_same_payment_has_the_same_body_each_time(name: str) -> None:
    fake, source = FAKES[name](now=Clock(NOW - timedelta(minutes=5))), stage_of(name).source
    fake.capture("order-1", 1999)
    first, second = [await pages_of(fake, source) for _ in range(2)]
    assert [page.bodies for page in first] == [page.bodies for page in second]


@pytest.mark.parametrize("name", ASKED)
async def test_all_pages_are_read_and_nothing_outside_the_time(name: str) -> None:
    clock = Clock(SINCE - timedelta(seconds=1))
    fake, source = FAKES[name](now=clock), stage_of(name).source
    fake.capture("too-early", 1)
    paid = []
    for number in range(230):
        clock.at = SINCE + timedelta(seconds=30 * (number // 2))
        paid.append(fake.capture(f"order-{number}", 100 + number).id)
    clock.at = NOW
    fake.capture("too-late", 1)
    pages = await pages_of(fake, source)
    assert len(pages) > 2
    assert sorted(read_all(source, pages)) == sorted(paid)


@pytest.mark.parametrize("name", ASKED)
async def test_what_went_back_is_told(name: str) -> None:
    fake, source = FAKES[name](now=Clock(NOW - timedelta(minutes=5))), stage_of(name).source
    whole, some, none = (fake.capture(f"order-{number}", 1999) for number in range(3))
    fake.give_by_hand(whole, 1999)
    fake.give_by_hand(some, 700)
    refunded = {key: value for page in await pages_of(fake, source) for key, value in page.refunded.items()}
    parts = {some.id: 700, none.id: 0} if fake.tells_parts else {}
    assert refunded == {whole.id: 1999, **parts}


@pytest.mark.parametrize(
    "junk", [None, [], "text", 7, {"error": {}}, {"errors": []}, {"data": 1}, {"items": {}}], ids=str
)
@pytest.mark.parametrize("name", ASKED)
def test_what_is_no_page_is_none(name: str, junk: Json) -> None:
    payments = providers.provider(name).payments
    assert payments is not None
    page = payments.found(stage_of(name).source, Answered(200, {}, junk))
    assert page is None or (page.bodies == () and page.next_page is None)


UNPAID: tuple[tuple[str, dict[str, Json]], ...] = (
    ("stripe", {"url": "/v1/charges", "has_more": False, "data": [{"id": "c", "status": "pending", "captured": True}]}),
    (
        "stripe",
        {"url": "/v1/charges", "has_more": False, "data": [{"id": "c", "status": "succeeded", "captured": False}]},
    ),
    ("square", {"payments": [{"id": "p", "status": "APPROVED"}]}),
    ("razorpay", {"items": [{"id": "p", "status": "authorized", "captured": False}]}),
)


@pytest.mark.parametrize(("name", "answer"), UNPAID)
def test_what_is_not_paid_is_left_out(name: str, answer: Json) -> None:
    source, payments = stage_of(name).source, providers.provider(name).payments
    assert payments is not None
    by_charge = replace(source, fields=replace(source.fields, payment_events=frozenset({"charge.succeeded"})))
    page = payments.found(by_charge, Answered(200, {}, answer))
    assert page is not None
    assert (page.bodies, page.refunded) == ((), {})


async def test_a_stripe_payment_that_began_before_the_time_is_told_by_its_event() -> None:
    fake, source = StripeFake(now=Clock(NOW - timedelta(minutes=5))), stage_of("stripe").source
    payment = fake.capture("order-1", 1999)
    fake.began[payment.id] = SINCE - timedelta(days=5)
    pages = await pages_of(fake, source)
    assert [len(page.bodies) for page in pages] == [0, 1]
    assert list(read_all(source, pages)) == [payment.id]


async def test_a_stripe_source_that_takes_charges_gets_charges() -> None:
    source = stage_of("stripe").source
    by_charge = replace(source, fields=replace(source.fields, payment_events=frozenset({"charge.succeeded"})))
    fake = StripeFake(now=Clock(NOW - timedelta(minutes=5)))
    payment = fake.capture("order-1", 1999)
    found = read_all(by_charge, await pages_of(fake, by_charge))
    assert [(each.external_id, each.event_type) for each in found.values()] == [(payment.id, "charge.succeeded")]


async def test_a_second_that_fills_a_page_of_razorpays_hides_others_and_is_no_answer() -> None:
    """Trap: the same page would be asked for again and again, or payments would be passed over."""
    payments, source = providers.provider("razorpay").payments, stage_of("razorpay").source
    assert payments is not None
    one = {"id": "pay_1", "captured": True, "amount": 1, "currency": "EUR", "created_at": 1767605460}
    assert payments.found(source, Answered(200, {}, {"items": [one] * 100})) is None
    assert payments.found(source, Answered(200, {}, {"items": [one] * 99})) is not None
