"""What is Stripe's alone in refunds: answers that are given again, headers that speak of repeating, its own decimals."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app import providers
from app.errors import Rejected
from app.providers.refunds import Answered, Refund, RefundStatus, Verdict, Wanted
from tests.fakes.server import Fault, Kind
from tests.fakes.stripe import StripeFake
from tests.fakes.teller import KEY, Teller, telling
from tests.providers.stages import stage_of


@pytest.fixture
async def teller() -> AsyncIterator[Teller]:
    async with telling("stripe", StripeFake()) as teller:
        yield teller


def wanted(payment_id: str = "pi_1", amount: int = 1999, currency: str = "EUR") -> Wanted:
    return Wanted(payment_id, "order-1", amount, currency, KEY, None)


def refunds() -> Any:
    return providers.provider("stripe").refunds


def refused(status: int, code: str | None = None, **headers: str) -> Any:
    body = {"error": {"type": "api_error", "message": "said", **({"code": code} if code else {})}}
    said = refunds().given(wanted(), Answered(status, {name.replace("_", "-"): v for name, v in headers.items()}, body))
    return None if said is None else said.verdict


@pytest.mark.parametrize("acts", [False, True])
async def test_a_500_that_is_given_again_says_nothing_and_the_list_tells(teller: Teller, acts: bool) -> None:
    payment = teller.fake.capture("order-1", 1999)
    wish = teller.wanted(payment)
    teller.fake.script(Kind.GIVE, Fault(500, acts=acts, kept=True))
    assert await teller.give(wish) is Verdict.UNKNOWN
    assert await teller.give(wish) is Verdict.LOOK_AGAIN
    listed = await teller.look(wish)
    assert listed is not None
    assert [each.key for each in listed] == [KEY] * acts


async def test_a_key_that_was_forgotten_makes_a_second_refund() -> None:
    """Why the list is looked at first: beyond its life a key protects from nothing."""
    at = datetime(2026, 1, 5, 9, 31, tzinfo=UTC)
    async with telling("stripe", StripeFake(now=lambda: at)) as teller:
        payment = teller.fake.capture("order-1", 1999)
        wish = teller.wanted(payment, 500)
        await teller.give(wish)
        at += refunds().key_lifetime
        await teller.give(wish)
        assert payment.refunded == 500
        at += timedelta(hours=1)
        await teller.give(wish)
        assert payment.refunded == 1000


def test_repeating_is_given_up_where_stripe_says_that_it_is_of_no_use() -> None:
    assert refused(500) is Verdict.UNKNOWN
    assert refused(500, stripe_should_retry="true") is Verdict.UNKNOWN
    assert refused(500, stripe_should_retry="false") is Verdict.LOOK_AGAIN
    assert refused(503, idempotent_replayed="true") is Verdict.LOOK_AGAIN


def test_what_is_locked_was_not_done_and_what_is_running_may_be() -> None:
    assert refused(409, "lock_timeout") is None
    assert refused(429, "lock_timeout") is None
    assert refused(409, "idempotency_key_in_use") is Verdict.UNKNOWN
    assert refused(409) is Verdict.UNKNOWN
    assert refused(424) is Verdict.UNKNOWN


def test_final_refusals_are_left_to_the_table_for_all_agents() -> None:
    for status, code in ((400, "charge_disputed"), (400, "parameter_unknown"), (402, None), (404, "resource_missing")):
        assert refused(status, code) is None
    assert refused(400, "charge_already_refunded") is Verdict.LOOK_AGAIN
    assert refused(400, "amount_too_large") is Verdict.LOOK_AGAIN


def test_a_charge_without_an_intent_is_refunded_as_a_charge() -> None:
    question = refunds().give(wanted("ch_1"))
    assert question.content.startswith(b"charge=ch_1&amount=1999&")
    assert refunds().search(wanted("ch_1"), None).path.startswith("/v1/refunds?charge=ch_1&")


@pytest.mark.parametrize(
    ("currency", "amount", "sent"),
    [
        ("EUR", 1999, 1999),
        ("JPY", 500, 500),
        ("KWD", 1990, 1990),
        ("ISK", 1000, 100000),
        ("UGX", 7, 700),
        ("MGA", 500, 5),
    ],
)
async def test_amounts_go_out_and_come_back_by_stripes_own_decimals(
    teller: Teller, currency: str, amount: int, sent: int
) -> None:
    payment = teller.fake.capture("order-1", sent, currency)
    wish = teller.wanted(payment, amount)
    refund = await teller.give(wish)
    assert isinstance(refund, Refund)
    assert (refund.amount, refund.currency) == (amount, currency)
    assert payment.refunded == sent
    assert await teller.look(wish) == [refund]


def test_an_amount_that_stripe_has_no_decimals_for_is_never_sent() -> None:
    with pytest.raises(Rejected, match="150 minor units of MGA cannot be written"):
        refunds().give(wanted(amount=150, currency="MGA"))


def test_a_refund_of_another_payment_in_the_list_makes_it_no_answer() -> None:
    other = {
        "id": "re_1",
        "payment_intent": "pi_2",
        "charge": "ch_2",
        "amount": 1,
        "currency": "eur",
        "status": "pending",
    }
    page = {"data": [other], "has_more": False}
    assert refunds().found(wanted(), Answered(200, {}, page)) is None
    mine = refunds().found(wanted("pi_2"), Answered(200, {}, page))
    assert [each.id for each in mine.refunds] == ["re_1"]
    assert refunds().given(wanted(), Answered(200, {}, other)) is None


@pytest.mark.parametrize(
    ("amount", "currency"),
    [(0, "eur"), (-1, "eur"), (True, "eur"), (1.0, "eur"), ("1", "eur"), (1, "zzz"), (1, None), (50, "isk")],
)
def test_an_amount_that_is_none_is_no_refund(amount: Any, currency: Any) -> None:
    said = {"id": "re_1", "payment_intent": "pi_1", "amount": amount, "currency": currency, "status": "succeeded"}
    assert refunds().given(wanted(), Answered(200, {}, said)) is None


def test_a_page_that_promises_more_and_has_nothing_is_no_answer() -> None:
    assert refunds().found(wanted(), Answered(200, {}, {"data": [], "has_more": True})) is None
    assert refunds().found(wanted(), Answered(200, {}, {"data": []})) is None


@pytest.mark.parametrize(
    ("status", "meant"),
    [
        ("requires_action", RefundStatus.PENDING),
        ("canceled", RefundStatus.FAILED),
        ("something_new", RefundStatus.PENDING),
        (None, RefundStatus.PENDING),
    ],
)
def test_a_status_is_read_as_over_only_where_it_says_so(status: str | None, meant: RefundStatus) -> None:
    said = {"id": "re_1", "payment_intent": "pi_1", "amount": 1, "currency": "eur", "status": status}
    assert refunds().given(wanted(), Answered(200, {}, said)).status is meant


@pytest.mark.parametrize(
    ("status", "meant"),
    [
        ("needs_response", RefundStatus.DISPUTED),
        ("lost", RefundStatus.DISPUTED),
        ("won", RefundStatus.FAILED),
        ("warning_needs_response", None),
        ("warning_closed", None),
    ],
)
def test_a_dispute_takes_the_money_and_an_enquiry_does_not(status: str, meant: RefundStatus | None) -> None:
    fake = StripeFake()
    payment = fake.capture("order-1", 1999)
    event = fake.dispute_event(payment, 1999, status)
    told = providers.provider("stripe").refund_news(stage_of("stripe").source, event)
    assert [(news.payment_id, news.refund.amount, news.refund.status) for news in told] == (
        [] if meant is None else [(payment.id, 1999, meant)]
    )


def test_a_sum_that_was_refunded_tells_of_no_refund() -> None:
    fake = StripeFake()
    payment = fake.capture("order-1", 1999)
    event = fake.charge_event(payment) | {"type": "charge.refunded"}
    assert providers.provider("stripe").refund_news(stage_of("stripe").source, event) == ()
