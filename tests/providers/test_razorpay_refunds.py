"""What is Razorpay's alone in refunds: refusals that differ by their words, one page of a list, notes that are a list."""

import re
from typing import Any

import pytest

from app import providers
from app.providers.refunds import Answered, Refund, RefundStatus, Verdict, Wanted
from tests.fakes.razorpay import RazorpayFake
from tests.fakes.teller import KEY, telling
from tests.providers.stages import stage_of


def wanted(payment_id: str = "pay_1") -> Wanted:
    return Wanted(payment_id, "order-1", 1999, "INR", KEY, None)


def refunds() -> Any:
    return providers.provider("razorpay").refunds


def refused(status: int, description: str, code: str = "BAD_REQUEST_ERROR") -> Any:
    body = {"error": {"code": code, "description": description}}
    said = refunds().given(wanted(), Answered(status, {}, body))
    return None if said is None else said.verdict


def test_refusals_are_told_apart_by_their_words() -> None:
    assert refused(400, "The payment has been fully refunded already") is Verdict.LOOK_AGAIN
    assert refused(400, "The total refund amount is greater than the refund payment amount") is Verdict.LOOK_AGAIN
    assert refused(400, "Different request with the same idempotency key has already been processed.") is None
    assert refused(400, "Your account does not have enough balance to carry out the refund operation.") is None
    assert refused(409, "Request in progress") is Verdict.UNKNOWN
    assert refused(400, "The gateway did not answer", "GATEWAY_ERROR") is Verdict.UNKNOWN
    assert refused(502, "The gateway did not answer", "GATEWAY_ERROR") is Verdict.UNKNOWN


def test_the_key_has_the_form_that_razorpay_takes() -> None:
    question = refunds().give(wanted())
    assert re.fullmatch(r"[A-Za-z0-9_-]{10,}", question.headers["X-Refund-Idempotency"])


def test_the_id_is_quoted_into_the_path() -> None:
    assert refunds().give(wanted("../pay?1")).path == "/v1/payments/..%2Fpay%3F1/refund"
    assert refunds().search(wanted("../pay?1"), None).path == "/v1/payments/..%2Fpay%3F1/refunds?count=100"


async def test_a_list_that_may_go_on_is_no_answer() -> None:
    async with telling("razorpay", RazorpayFake()) as teller:
        payment = teller.fake.capture("order-1", 1999)
        wish = teller.wanted(payment)
        for _ in range(99):
            teller.fake.give_by_hand(payment, 1)
        listed = await teller.look(wish)
        assert listed is not None
        assert len(listed) == 99
        teller.fake.give_by_hand(payment, 1)
        answered = await teller.client.get(refunds().search(wish, None).path)
        assert refunds().found(wish, Answered(200, {}, answered.json())) is None


def test_a_list_that_cannot_be_read_whole_is_no_answer() -> None:
    mine = {"id": "rfnd_1", "payment_id": "pay_1", "amount": 1, "currency": "INR", "status": "processed", "notes": []}
    read = refunds().found(wanted(), Answered(200, {}, {"items": [mine]}))
    assert [(each.id, each.key) for each in read.refunds] == [("rfnd_1", None)]
    for odd in (mine | {"payment_id": "pay_2"}, mine | {"amount": "1"}, mine | {"currency": None}, None):
        assert refunds().found(wanted(), Answered(200, {}, {"items": [mine, odd]})) is None
    assert refunds().given(wanted(), Answered(200, {}, mine | {"payment_id": "pay_2"})) is None


async def test_three_decimals_go_out_and_come_back() -> None:
    async with telling("razorpay", RazorpayFake()) as teller:
        refund = await teller.give(teller.wanted(teller.fake.capture("order-1", 1990, "KWD")))
        assert isinstance(refund, Refund)
        assert (refund.amount, refund.currency) == (1990, "KWD")


@pytest.mark.parametrize(
    ("status", "phase", "meant"),
    [
        ("open", "chargeback", RefundStatus.DISPUTED),
        ("lost", "arbitration", RefundStatus.DISPUTED),
        ("won", "chargeback", RefundStatus.FAILED),
        ("closed", "chargeback", RefundStatus.FAILED),
        ("open", "retrieval", None),
        ("open", "fraud", None),
    ],
)
def test_a_dispute_takes_the_money_and_an_enquiry_does_not(status: str, phase: str, meant: RefundStatus | None) -> None:
    fake = RazorpayFake()
    payment = fake.capture("order-1", 1999)
    event = fake.dispute_event(payment, 1999, status, phase)
    told = providers.provider("razorpay").refund_news(stage_of("razorpay").source, event)
    assert [(news.payment_id, news.refund.amount, news.refund.status) for news in told] == (
        [] if meant is None else [(payment.id, 1999, meant)]
    )
