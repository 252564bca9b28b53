"""Mollie's refunds: pages, statuses, chargebacks; and the classic webhook, whose payment is read."""

import json
from dataclasses import replace
from typing import Any

import pytest

from app import providers
from app.providers import Delivery
from app.providers.mollie.classic import classic_body, classic_payment_id, classic_question
from app.providers.reading import Ignored, Payment, read
from app.providers.refunds import Answered, RefundNews, RefundStatus, Refusal, Verdict, Wanted
from tests.fakes.mollie import MollieFake
from tests.fakes.server import Kind, carried
from tests.fakes.teller import KEY
from tests.providers.refunding import Desk
from tests.providers.stages import stage_of


def news(event: Any) -> list[RefundNews]:
    return list(providers.provider("mollie").refund_news(stage_of("mollie").source, json.loads(json.dumps(event))))


async def test_a_list_is_read_to_its_last_page() -> None:
    async with Desk("mollie", MollieFake()) as desk:
        payment = desk.fake.capture("order-1", 1999)
        made = {desk.fake.give_by_hand(payment, 1).id for _ in range(505)}
        listed = await desk.looked(desk.wanted(payment))
        assert listed is not None
        assert {refund.id for refund in listed.refunds} == made
        assert len(listed.refunds) == 505
        assert len(desk.fake.of(Kind.LIST)) == 4  # the payment, and three pages


async def test_what_a_bank_took_back_is_listed_as_a_dispute() -> None:
    fake = MollieFake()
    async with Desk("mollie", fake) as desk:
        payment = fake.capture("order-1", 1999)
        fake.charge_back(payment, 700)
        fake.charge_back(payment, 300, reversed_at=fake.now())
        listed = await desk.looked(desk.wanted(payment))
        assert listed is not None
        told = [(refund.amount, refund.status) for refund in listed.refunds]
        assert told == [(700, RefundStatus.DISPUTED), (300, RefundStatus.FAILED)]


def test_what_was_captured_is_what_was_paid() -> None:
    fake = MollieFake()
    desk = Desk("mollie", fake)
    payment = fake.capture("order-1", 1999)
    said = fake.payment_json(payment) | {"amountCaptured": {"value": "15.00", "currency": "EUR"}}
    listed = desk.refunds.found(desk.wanted(payment), Answered(200, {}, said))
    assert listed is not None
    assert listed.paid == 1500


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("queued", RefundStatus.PENDING),
        ("pending", RefundStatus.PENDING),
        ("processing", RefundStatus.PENDING),
        ("refunded", RefundStatus.SUCCEEDED),
        ("failed", RefundStatus.FAILED),
        ("canceled", RefundStatus.FAILED),
        ("a new word", RefundStatus.PENDING),
    ],
)
def test_every_status_of_a_refund_is_told(said: str, status: RefundStatus) -> None:
    fake = MollieFake()
    payment = fake.capture("order-1", 1999)
    refund = fake.refund_json(fake.give_by_hand(payment, 500)) | {"status": said}
    for event in (fake.event(f"refund.{said}", refund), refund):
        [told] = news(event)
        assert (told.payment_id, told.refund.amount, told.refund.status) == (payment.id, 500, status)


@pytest.mark.parametrize(
    ("status", "said", "verdict"),
    [
        (422, {"detail": "The amount is higher than the maximum", "field": "amount"}, Verdict.LOOK_AGAIN),
        (422, {"detail": "The payment has already been refunded"}, Verdict.LOOK_AGAIN),
        (409, {"detail": "A duplicate refund has been detected"}, Verdict.LOOK_AGAIN),
        (409, {"detail": "A request with this idempotency key is being handled"}, Verdict.UNKNOWN),
        (422, {"detail": "The payment method does not support refunds"}, None),
        (404, {"detail": "No payment exists"}, None),
        (503, {"detail": "Later"}, Verdict.UNKNOWN),
    ],
)
def test_mollies_errors_say_what_to_do(status: int, said: object, verdict: Verdict | None) -> None:
    refunds = providers.provider("mollie").refunds
    assert refunds is not None
    answer = refunds.given(Wanted("tr_1", "order-1", 1, "EUR", KEY, {}), Answered(status, {}, said))
    assert (answer.verdict if isinstance(answer, Refusal) else answer) == verdict


async def test_the_payment_that_a_classic_form_names_is_read_in_its_place() -> None:
    fake = MollieFake()
    source = replace(stage_of("mollie").source, secrets=())
    async with Desk("mollie", fake) as desk:
        payment = fake.capture("order-1", 1999)
        refund = desk.fake.give_by_hand(payment, 500)
        fake.charge_back(payment, 100)
        payment_id = classic_payment_id(f"id={payment.id}".encode())
        assert payment_id == payment.id
        body = classic_body(payment_id, await carried(desk.client, classic_question(payment_id)))
        assert body is not None
        reading = read(source, Delivery(None), body)
        assert isinstance(reading, Payment)
        assert (reading.external_id, reading.order_id, reading.amount) == (payment.id, "order-1", 1999)
        told = [(each.payment_id, each.refund.id, each.refund.status) for each in news(json.loads(body))]
        assert told[0] == (payment.id, refund.id, RefundStatus.SUCCEEDED)
        assert told[1][2] is RefundStatus.DISPUTED
        fake.statuses[payment.id] = "expired"
        body = classic_body(payment_id, await carried(desk.client, classic_question(payment_id)))
        assert body is not None
        assert read(source, Delivery(None), body) == Ignored("payment.expired", None)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"id=",
        b"id=re_1",
        b"id=tr_../../x",
        b"id=tr_a%2Fb",
        b"id=tr_1&id=tr_2",
        b"id=tr_1\xff",
        b"x=tr_1",
        b'{"id": "tr_1"}',
        b"id=tr_" + b"a" * 65,
        b"&".join([b"id=tr_1"] * 99),
        b"a=" + b"b" * 2000 + b"&id=tr_1",
    ],
)
def test_what_is_no_classic_form_names_no_payment(body: bytes) -> None:
    assert classic_payment_id(body) is None


@pytest.mark.parametrize("said", [None, [], {"resource": "payment", "id": "tr_2"}, {"resource": "order", "id": "tr_1"}])
def test_another_thing_than_the_payment_asked_for_is_not_taken_for_it(said: object) -> None:
    assert classic_body("tr_1", Answered(200, {}, said)) is None
