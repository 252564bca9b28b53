"""What is Square's alone in refunds: its key in the reason, a list of the whole account that lags, its errors."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from app import providers
from app.providers.refunds import Answered, Refund, RefundStatus, Verdict, Wanted
from tests.fakes.square import SquareFake
from tests.fakes.teller import KEY, telling
from tests.providers.stages import stage_of


def wanted(event: Any = None, amount: int = 1999, currency: str = "EUR") -> Wanted:
    return Wanted("p1", "order-1", amount, currency, KEY, event)


def refunds() -> Any:
    return providers.provider("square").refunds


def refused(status: int, code: str) -> Any:
    body = {"errors": [{"category": "REFUND_ERROR", "code": code, "detail": "said"}]}
    said = refunds().given(wanted(), Answered(status, {}, body))
    return None if said is None else said.verdict


def test_errors_that_wait_and_errors_that_look_again_are_told_from_final_ones() -> None:
    assert refused(400, "REFUND_AMOUNT_INVALID") is Verdict.LOOK_AGAIN
    assert refused(400, "REFUND_ALREADY_PENDING") is Verdict.LOOK_AGAIN
    assert refused(400, "REFUND_ERROR_PAYMENT_NEEDS_COMPLETION") is Verdict.UNAVAILABLE
    assert refused(409, "CONFLICT") is Verdict.UNKNOWN
    assert refused(500, "REFUND_AMOUNT_INVALID") is Verdict.UNKNOWN
    for code in ("PAYMENT_NOT_REFUNDABLE", "PAYMENT_NOT_REFUNDABLE_DUE_TO_DISPUTE", "IDEMPOTENCY_KEY_REUSED"):
        assert refused(400, code) is None


def test_the_key_and_the_reason_fit_what_square_takes() -> None:
    body = refunds().give(wanted()).recorded
    assert len(body["idempotency_key"]) <= 45
    assert len(body["reason"]) <= 192
    assert body["amount_money"] == {"amount": 1999, "currency": "EUR"}


def test_only_refunds_since_the_payment_are_asked_for() -> None:
    made_at = "2026-01-05T09:30:00.000Z"
    event = {"data": {"object": {"payment": {"created_at": made_at}}}}
    assert query_of(wanted(event))["begin_time"] == [made_at]
    for odd in (None, {}, {"data": {"object": {"payment": {"created_at": "yesterday"}}}}):
        assert "begin_time" not in query_of(wanted(odd))


def query_of(wish: Wanted) -> dict[str, list[str]]:
    return parse_qs(urlsplit(refunds().search(wish, None).path).query)


def test_a_refund_of_another_payment_is_none_of_the_payments() -> None:
    other = {"id": "r1", "payment_id": "p2", "status": "COMPLETED", "amount_money": {"amount": 1, "currency": "EUR"}}
    assert refunds().found(wanted(), Answered(200, {}, {"refunds": [other]})).refunds == ()
    assert refunds().given(wanted(), Answered(200, {}, {"refund": other})) is None


def test_a_list_that_cannot_be_read_whole_is_no_answer() -> None:
    broken = {"id": "r1", "payment_id": "p1", "status": "COMPLETED"}
    answer: Any
    for answer in ({"refunds": [broken]}, {"refunds": "none"}, {"errors": []}, [], None):
        assert refunds().found(wanted(), Answered(200, {}, answer)) is None
    assert refunds().found(wanted(), Answered(200, {}, {})).refunds == ()


async def test_a_refund_that_the_list_does_not_show_yet_is_still_protected_by_its_key() -> None:
    at = datetime(2026, 1, 5, 9, 31, tzinfo=UTC)
    fake = SquareFake(now=lambda: at)
    fake.lag = timedelta(seconds=5)
    async with telling("square", fake) as teller:
        payment = fake.capture("order-1", 1999)
        wish = teller.wanted(payment, 500)
        first = await teller.give(wish)
        assert await teller.look(wish) == []
        assert await teller.give(wish) == first
        assert payment.refunded == 500
        at += timedelta(seconds=5)
        assert await teller.look(wish) == [first]


async def test_yen_have_no_decimals() -> None:
    async with telling("square", SquareFake()) as teller:
        refund = await teller.give(teller.wanted(teller.fake.capture("order-1", 500, "JPY")))
        assert isinstance(refund, Refund)
        assert (refund.amount, refund.currency) == (500, "JPY")


@pytest.mark.parametrize(
    ("state", "meant"),
    [
        ("EVIDENCE_REQUIRED", RefundStatus.DISPUTED),
        ("ACCEPTED", RefundStatus.DISPUTED),
        ("WON", RefundStatus.FAILED),
        ("INQUIRY_PROCESSING", None),
    ],
)
def test_a_dispute_takes_the_money_and_an_inquiry_does_not(state: str, meant: RefundStatus | None) -> None:
    fake = SquareFake()
    payment = fake.capture("order-1", 1999)
    event = fake.dispute_event(payment, 1999, state)
    told = providers.provider("square").refund_news(stage_of("square").source, event)
    assert [(news.payment_id, news.refund.amount, news.refund.status) for news in told] == (
        [] if meant is None else [(payment.id, 1999, meant)]
    )
