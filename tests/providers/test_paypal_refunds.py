"""PayPal's refunds: the order that shows them, the capture that hardly does, its errors and its events."""

import json
from typing import Any

import pytest

from app import providers
from app.providers.refunds import Answered, Refund, RefundNews, RefundStatus, Refusal, Verdict, Wanted
from tests.fakes.paypal import PaypalFake
from tests.fakes.server import Kind
from tests.fakes.teller import KEY
from tests.providers.refunding import Desk
from tests.providers.stages import stage_of


def news(event: Any) -> list[RefundNews]:
    return list(providers.provider("paypal").refund_news(stage_of("paypal").source, json.loads(json.dumps(event))))


def without_order(wanted: Wanted) -> Wanted:
    event = json.loads(json.dumps(wanted.event))
    del event["resource"]["supplementary_data"]
    return Wanted(wanted.payment_id, wanted.order_id, wanted.amount, wanted.currency, wanted.key, event)


async def test_a_capture_without_an_order_tells_nothing_or_all_but_no_part() -> None:
    async with Desk("paypal", PaypalFake()) as desk:
        payment = desk.fake.capture("order-1", 1999)
        wanted = without_order(desk.wanted(payment))
        listed = await desk.looked(wanted)
        assert listed is not None
        assert (listed.refunds, listed.paid) == ((), 1999)
        desk.fake.give_by_hand(payment, 500)
        assert await desk.looked(wanted) is None
        desk.fake.give_by_hand(payment, 1499)
        listed = await desk.looked(wanted)
        assert listed is not None
        [whole] = listed.refunds
        assert (whole.amount, whole.key, whole.status) == (1999, None, RefundStatus.SUCCEEDED)
        assert {asked.path for asked in desk.fake.of(Kind.LIST)} == {f"/v2/payments/captures/{payment.id}"}


def order(*captures: Any, refunds: Any = ()) -> Answered:
    return Answered(200, {}, {"purchase_units": [{"payments": {"captures": list(captures), "refunds": list(refunds)}}]})


def test_of_an_order_with_several_captures_only_the_own_refunds_count() -> None:
    fake = PaypalFake()
    desk = Desk("paypal", fake)
    first, second = fake.capture("order-1", 1000), fake.capture("order-1", 2000)
    made = [fake.refund_json(desk.fake.give_by_hand(payment, 100)) for payment in (first, second)]
    wanted, captures = desk.wanted(first), [fake.capture_json(first), fake.capture_json(second)]
    listed = desk.refunds.found(wanted, order(*captures, refunds=made))
    assert listed is not None
    assert ([refund.id for refund in listed.refunds], listed.paid) == ([made[0]["id"]], 1000)
    unowned = {name: value for name, value in made[0].items() if name != "links"}
    assert desk.refunds.found(wanted, order(*captures, refunds=[unowned])) is None
    listed = desk.refunds.found(wanted, order(captures[0], refunds=[unowned]))
    assert listed is not None
    assert [refund.id for refund in listed.refunds] == [made[0]["id"]]
    assert desk.refunds.found(wanted, order(captures[1])) is None


def test_an_order_that_hides_its_refunds_is_not_believed() -> None:
    fake = PaypalFake()
    desk = Desk("paypal", fake)
    payment = fake.capture("order-1", 1000)
    desk.fake.give_by_hand(payment, 100)
    assert desk.refunds.found(desk.wanted(payment), order(fake.capture_json(payment))) is None


def test_a_refund_is_known_by_its_invoice_where_that_is_all_an_order_shows() -> None:
    fake = PaypalFake()
    desk = Desk("paypal", fake)
    payment = fake.capture("order-1", 1000)
    refund = desk.fake.give_by_hand(payment, 100)
    refund.key = KEY
    told = fake.refund_json(refund)
    del told["custom_id"]
    listed = desk.refunds.found(desk.wanted(payment), order(fake.capture_json(payment), refunds=[told]))
    assert listed is not None
    assert listed.refunds[0].key == KEY


def test_the_short_form_of_a_refund_has_the_amount_that_was_wanted() -> None:
    fake = PaypalFake()
    desk = Desk("paypal", fake)
    wanted = desk.wanted(fake.capture("order-1", 1000))
    made = desk.refunds.given(wanted, Answered(201, {}, {"id": "R1", "status": "PENDING"}))
    assert made == Refund("R1", 1000, "EUR", RefundStatus.PENDING, KEY)
    for odd in ({"id": "R1"}, {"id": "R1", "status": "PENDING", "amount": {"value": "1,0", "currency_code": "EUR"}}):
        assert desk.refunds.given(wanted, Answered(201, {}, odd)) is None


@pytest.mark.parametrize(
    ("issue", "verdict"),
    [
        ("CAPTURE_FULLY_REFUNDED", Verdict.LOOK_AGAIN),
        ("REFUND_AMOUNT_EXCEEDED", Verdict.LOOK_AGAIN),
        ("DUPLICATE_INVOICE_ID", Verdict.LOOK_AGAIN),
        ("REFUND_FAILED_INSUFFICIENT_FUNDS", Verdict.UNAVAILABLE),
        ("PENDING_CAPTURE", Verdict.UNAVAILABLE),
        ("REFUND_TIME_LIMIT_EXCEEDED", None),
        ("TRANSACTION_DISPUTED", None),
    ],
)
def test_paypals_issues_say_what_to_do(issue: str, verdict: Verdict | None) -> None:
    refunds = providers.provider("paypal").refunds
    assert refunds is not None
    body = {"name": "UNPROCESSABLE_ENTITY", "message": "No.", "details": [{"issue": issue}]}
    read = refunds.given(Wanted("C1", "order-1", 1, "EUR", KEY, {}), Answered(422, {}, body))
    assert (read.verdict if isinstance(read, Refusal) else read) == verdict


def test_events_tell_of_refunds_and_reversals() -> None:
    fake = PaypalFake()
    payment = fake.capture("order-1", 1999)
    refund = fake.give_by_hand(payment, 500)
    for kind in ("PAYMENT.CAPTURE.REFUNDED", "PAYMENT.CAPTURE.REVERSED", "PAYMENT.REFUND.FAILED"):
        for status in (RefundStatus.PENDING, RefundStatus.SUCCEEDED, RefundStatus.FAILED):
            refund.status = status
            [told] = news(fake.refund_event(refund, kind))
            assert told.payment_id == payment.id
            assert (told.refund.id, told.refund.amount, told.refund.status) == (refund.id, 500, status)


def test_a_dispute_counts_once_it_is_more_than_an_enquiry_and_until_it_is_won() -> None:
    fake = PaypalFake()
    payment = fake.capture("order-1", 1999)
    assert not news(fake.dispute_event([payment], 1500, dispute_life_cycle_stage="INQUIRY"))
    [told] = news(fake.dispute_event([payment], 1500))
    assert (told.payment_id, told.refund.amount) == (payment.id, 1500)
    assert told.refund.status is RefundStatus.DISPUTED
    for outcome, status in (
        ("RESOLVED_BUYER_FAVOUR", RefundStatus.DISPUTED),
        ("CANCELED_BY_BUYER", RefundStatus.FAILED),
    ):
        [told] = news(fake.dispute_event([payment], 1500, dispute_outcome={"outcome_code": outcome}))
        assert told.refund.status is status


def test_a_dispute_over_several_payments_is_one_of_each() -> None:
    fake = PaypalFake()
    payments = [fake.capture("order-1", 1999), fake.capture("order-2", 300)]
    told = news(fake.dispute_event(payments, 2299))
    assert [(each.payment_id, each.refund.amount) for each in told] == [(payments[0].id, 1999), (payments[1].id, 300)]
    assert len({each.refund.id for each in told}) == 2
