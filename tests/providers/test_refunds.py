"""What holds for the refunds of every provider, each against its fake over real HTTP, whatever the network does."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from app import providers
from app.providers.refunds import Answered, Refund, RefundNews, RefundStatus, Verdict
from app.saga.model import Json
from app.sandbox.desk import Hold
from tests.fakes.every import FAKES
from tests.fakes.server import Fault, Kind, carried
from tests.fakes.teller import KEY, OTHER_KEY, Teller, telling
from tests.providers.stages import stage_of

NOW = datetime(2026, 1, 5, 9, 31, tzinfo=UTC)

JUNK: tuple[Json, ...] = (
    None,
    [],
    "text",
    7,
    {},
    {"error": "text"},
    {"errors": [None, 1, {"code": 5}]},
    {"data": [{}], "items": [{}], "refunds": None, "has_more": False},
    {"data": {"object": {"refund": 1}}, "type": "refund.updated", "event": "refund.processed", "payload": []},
    {"type": 5, "event": None},
)


@pytest.fixture(params=sorted(FAKES))
async def teller(request: pytest.FixtureRequest) -> AsyncIterator[Teller]:
    """Each provider's refunds, with its fake behind them."""
    async with telling(request.param, FAKES[request.param](now=lambda: NOW)) as teller:
        yield teller


def name_of(teller: Teller) -> str:
    return next(name for name, fake in FAKES.items() if type(teller.fake) is fake)


async def test_a_refund_is_made_and_known_again_by_its_key(teller: Teller) -> None:
    payment = teller.fake.capture("order-1", 1999)
    wanted = teller.wanted(payment)
    assert await teller.look(wanted) in ([], None)
    refund = await teller.give(wanted)
    assert isinstance(refund, Refund)
    status = RefundStatus.PENDING if teller.fake.tells_later else RefundStatus.SUCCEEDED
    assert (refund.amount, refund.currency, refund.status) == (1999, "EUR", status)
    assert refund.key in {KEY, None}
    listed = await teller.look(wanted)
    assert listed is None or [(each.id, each.key) for each in listed] == [(refund.id, KEY)]
    assert [given.key for given in payment.refunds] == [KEY]


async def test_the_same_wish_brings_the_same_refund(teller: Teller) -> None:
    payment = teller.fake.capture("order-1", 1999)
    wanted = teller.wanted(payment, 500)
    assert teller.refunds.give(wanted) == teller.refunds.give(wanted)
    first, second = await teller.give(wanted), await teller.give(wanted)
    assert isinstance(first, Refund)
    assert isinstance(second, Refund)
    assert first.id == second.id
    assert payment.refunded == 500


async def test_a_key_with_another_amount_makes_no_refund(teller: Teller) -> None:
    payment = teller.fake.capture("order-1", 1999)
    await teller.give(teller.wanted(payment, 500))
    assert await teller.give(teller.wanted(payment, 600)) in {Verdict.REJECTED, Verdict.LOOK_AGAIN}
    assert payment.refunded == 500


async def test_a_refund_made_by_hand_is_somebody_elses(teller: Teller) -> None:
    payment = teller.fake.capture("order-1", 1999)
    by_hand = teller.fake.give_by_hand(payment, 700)
    teller.fake.give_by_hand(teller.fake.capture("order-2", 1999), 100)
    listed = await teller.look(teller.wanted(payment))
    assert listed is None or [(each.id, each.amount, each.key) for each in listed] == [(by_hand.id, 700, None)]


@pytest.mark.parametrize("gone", [1, 1999])
async def test_a_wish_for_more_than_is_left_looks_again(teller: Teller, gone: int) -> None:
    payment = teller.fake.capture("order-1", 1999)
    teller.fake.give_by_hand(payment, gone)
    said = await teller.give(teller.wanted(payment))
    if teller.fake.tells_later:
        assert isinstance(said, Refund)
        [news] = news_of(teller, teller.fake.refund_event(teller.fake.ledger.refund(said.id)))
        assert (news.refund.id, news.refund.status) == (said.id, RefundStatus.FAILED)
    else:
        assert said is Verdict.LOOK_AGAIN
    assert payment.refunded == gone


async def test_what_is_over_the_limit_was_not_done_and_is_asked_again(teller: Teller) -> None:
    payment = teller.fake.capture("order-1", 1999)
    teller.fake.script(Kind.GIVE, Fault(429))
    assert await teller.give(teller.wanted(payment)) is Verdict.UNAVAILABLE
    assert payment.refunds == []
    assert isinstance(await teller.give(teller.wanted(payment)), Refund)


async def test_a_conflict_is_never_final(teller: Teller) -> None:
    payment = teller.fake.capture("order-1", 1999)
    teller.fake.script(Kind.GIVE, Fault(409))
    assert await teller.give(teller.wanted(payment)) in {Verdict.UNAVAILABLE, Verdict.UNKNOWN}
    assert isinstance(await teller.give(teller.wanted(payment)), Refund)
    assert payment.refunded == 1999


@pytest.mark.parametrize("acts", [False, True])
@pytest.mark.parametrize("status", [500, 502, 503])
async def test_after_a_server_error_nobody_knows_and_the_same_wish_makes_one_refund(
    teller: Teller, status: int, acts: bool
) -> None:
    """Trap: Retry-After beside a 503 does not say that nothing was done."""
    payment = teller.fake.capture("order-1", 1999)
    teller.fake.script(Kind.GIVE, Fault(status, acts=acts, headers={"Retry-After": "1"}))
    assert await teller.give(teller.wanted(payment)) is Verdict.UNKNOWN
    assert len(payment.refunds) == acts
    assert isinstance(await teller.give(teller.wanted(payment)), Refund)
    assert payment.refunded == 1999


@pytest.mark.parametrize("acts", [False, True])
async def test_after_a_dropped_answer_the_same_wish_makes_one_refund(teller: Teller, acts: bool) -> None:
    payment = teller.fake.capture("order-1", 1999)
    teller.fake.script(Kind.GIVE, Fault(drop=True, acts=acts))
    with pytest.raises(httpx.TransportError):
        await teller.give(teller.wanted(payment))
    assert len(payment.refunds) == acts
    assert isinstance(await teller.give(teller.wanted(payment)), Refund)
    assert payment.refunded == 1999


@pytest.mark.parametrize("after", [False, True])
async def test_while_the_first_wish_is_under_way_the_second_is_told_to_wait(teller: Teller, after: bool) -> None:
    payment = teller.fake.capture("order-1", 1999)
    hold = Hold(after)
    teller.fake.script(Kind.GIVE, Fault(hold=hold, acts=True))
    async with asyncio.TaskGroup() as group:
        first = group.create_task(teller.give(teller.wanted(payment)))
        await asyncio.wait_for(hold.arrived.wait(), 10)
        second = await teller.give(teller.wanted(payment))
        hold.released.set()
    assert second in {Verdict.UNKNOWN, Verdict.UNAVAILABLE}
    assert isinstance(first.result(), Refund)
    assert payment.refunded == 1999


@pytest.mark.parametrize("status", [RefundStatus.SUCCEEDED, RefundStatus.FAILED])
async def test_a_pending_refund_is_settled_later(teller: Teller, status: RefundStatus) -> None:
    teller.fake.outcome = RefundStatus.PENDING
    payment = teller.fake.capture("order-1", 1999)
    wanted = teller.wanted(payment)
    refund = await teller.give(wanted)
    assert isinstance(refund, Refund)
    assert refund.status is RefundStatus.PENDING
    given = teller.fake.ledger.settle(refund.id, status)
    [news] = news_of(teller, teller.fake.refund_event(given))
    assert (news.payment_id, news.refund.id, news.refund.status) == (payment.id, refund.id, status)
    listed = await teller.look(wanted)
    assert listed is None or listed == [news.refund]


async def test_after_a_refund_that_failed_another_key_makes_another(teller: Teller) -> None:
    payment = teller.fake.capture("order-1", 1999)
    refund = await teller.give(teller.wanted(payment))
    assert isinstance(refund, Refund)
    teller.fake.ledger.settle(refund.id, RefundStatus.FAILED)
    again = await teller.give(teller.wanted(payment, key=OTHER_KEY))
    assert isinstance(again, Refund)
    assert again.id != refund.id
    listed = await teller.look(teller.wanted(payment))
    assert listed is None or {each.key: each.status for each in listed} == {
        KEY: RefundStatus.FAILED,
        OTHER_KEY: RefundStatus.SUCCEEDED,
    }


async def test_all_pages_of_the_refunds_are_read(teller: Teller) -> None:
    payment = teller.fake.capture("order-1", 1999)
    made = [teller.fake.give_by_hand(payment, 1).id for _ in range(teller.fake.most_refunds)]
    listed = await teller.look(teller.wanted(payment))
    assert listed is None or sorted(each.id for each in listed) == sorted(made)


async def test_an_event_tells_of_a_refund_of_ours_and_of_somebody_elses(teller: Teller) -> None:
    payment = teller.fake.capture("order-1", 1999)
    by_hand = teller.fake.give_by_hand(payment, 100)
    ours = await teller.give(teller.wanted(payment, 200))
    assert isinstance(ours, Refund)
    told = [news_of(teller, teller.fake.refund_event(each)) for each in (by_hand, teller.fake.ledger.refund(ours.id))]
    assert [(news.payment_id, news.refund.amount, news.refund.key) for [news] in told] == [
        (payment.id, 100, None),
        (payment.id, 200, KEY),
    ]


async def test_a_payment_tells_of_no_refund(teller: Teller) -> None:
    payment = teller.fake.capture("order-1", 1999)
    assert news_of(teller, teller.fake.payment_event(payment)) == []


@pytest.mark.parametrize("junk", JUNK, ids=str)
async def test_what_cannot_be_read_says_nothing(teller: Teller, junk: Json) -> None:
    wanted = teller.wanted(teller.fake.capture("order-1", 1999))
    assert teller.refunds.given(wanted, Answered(200, {}, junk)) is None
    listed = teller.refunds.found(wanted, Answered(200, {}, junk))
    assert listed is None or listed.refunds == ()
    assert news_of(teller, junk) == []
    for status in (400, 409, 422, 500, 503):
        assert not isinstance(teller.meaning(wanted, Answered(status, {}, junk)), Refund)


async def test_an_id_stays_one_value_whatever_is_in_it(teller: Teller) -> None:
    payment = teller.fake.capture("order-1", 1999)
    odd = replace(teller.wanted(payment), payment_id="../a b?c=d&e#f")
    assert not isinstance(await teller.give(odd), Refund)
    assert payment.refunds == []
    question = teller.refunds.search(odd, None)
    if question is not None:
        listed = teller.refunds.found(odd, await carried(teller.client, question))
        assert listed is None or listed.refunds == ()
    kinds = [teller.fake.kind_of(asked) for asked in teller.fake.asked]
    assert kinds == ([Kind.GIVE] if question is None else [Kind.GIVE, Kind.LIST])


async def test_what_is_put_on_record_is_what_was_asked_for(teller: Teller) -> None:
    question = teller.refunds.give(teller.wanted(teller.fake.capture("order-1", 1999)))
    assert question.content is not None
    assert json.dumps(question.recorded)
    assert KEY in json.dumps(question.recorded)


def news_of(teller: Teller, event: Any) -> list[RefundNews]:
    name = name_of(teller)
    return list(providers.provider(name).refund_news(stage_of(name).source, event))
