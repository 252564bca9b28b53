"""Shopify's refunds: by which transactions, in which currency, what 200 means, and what webhooks tell."""

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from app import providers
from app.errors import Rejected
from app.providers.refunds import Answered, Refund, RefundNews, RefundStatus, Refusal, Verdict, Wanted
from tests.fakes.server import Kind
from tests.fakes.shopify import ShopifyFake
from tests.fakes.teller import KEY
from tests.providers.refunding import Desk
from tests.providers.stages import stage_of


def news(event: Any) -> list[RefundNews]:
    return list(providers.provider("shopify").refund_news(stage_of("shopify").source, json.loads(json.dumps(event))))


def made_of(desk: Desk) -> Any:
    return desk.fake.of(Kind.GIVE)[-1].json["variables"]["input"]


async def test_an_order_paid_in_the_payers_currency_is_given_back_in_it_as_a_whole() -> None:
    fake = ShopifyFake()
    fake.presented = ("USD", Decimal("1.1007"))
    async with Desk("shopify", fake) as desk:
        payment = fake.capture("#1001", 1999)
        made = await desk.given(desk.wanted(payment))
        assert isinstance(made, Refund)
        assert (made.amount, made.currency) == (1999, "EUR")
        assert made_of(desk)["currency"] == "USD"
        assert made_of(desk)["transactions"][0]["amount"] == "22.00"
        assert payment.left == 0


async def test_a_part_of_an_order_in_another_currency_is_left_to_a_human() -> None:
    """A part of what is left, in the shop's currency, has no exact amount in the payer's; all that is left has one."""
    fake = ShopifyFake()
    fake.presented = ("USD", Decimal("1.1007"))
    async with Desk("shopify", fake) as desk:
        payment = fake.capture("#1001", 1999)
        with pytest.raises(Rejected, match="a part of what was paid in another currency"):
            await desk.given(desk.wanted(payment, 1000))
        desk.fake.give_by_hand(payment, 500)
        assert isinstance(await desk.given(desk.wanted(payment, 1499)), Refund)
        assert made_of(desk)["transactions"][0]["amount"] == "16.50"
        assert payment.left == 0
        assert await desk.looked(replace(desk.wanted(payment), currency="GBP")) is None


async def test_what_is_given_back_of_an_order_in_another_currency_is_found_again() -> None:
    fake = ShopifyFake()
    fake.presented = ("USD", Decimal("1.1007"))
    async with Desk("shopify", fake) as desk:
        payment = fake.capture("#1001", 1999)
        made = await desk.given(desk.wanted(payment))
        listed = await desk.looked(desk.wanted(payment))
        assert listed is not None
        assert listed.refunds == (made,)


async def test_a_part_in_the_payers_own_currency_is_exact() -> None:
    fake = ShopifyFake()
    fake.presented = ("USD", Decimal(1))
    async with Desk("shopify", fake) as desk:
        payment = fake.capture("#1001", 1999)
        made = await desk.given(replace(desk.wanted(payment, 500), currency="USD"))
        assert isinstance(made, Refund)
        assert (made.amount, made.currency) == (500, "USD")
        assert made_of(desk)["transactions"][0]["amount"] == "5.00"


def found(desk: Desk, wanted: Wanted, order: Any) -> Any:
    return desk.refunds.found(wanted, Answered(200, {}, {"data": {"order": order}}))


def test_an_order_paid_by_two_transactions_is_given_back_to_both() -> None:
    fake = ShopifyFake()
    desk = Desk("shopify", fake)
    payment = fake.capture("#1001", 1000)
    order = fake.order_json(payment)
    [card] = order["transactions"]
    gift = card | {"id": "gid://shopify/OrderTransaction/2", "gateway": "gift_card", "kind": "CAPTURE"}
    failed = card | {"id": "gid://shopify/OrderTransaction/3", "status": "FAILURE"}
    authorized = card | {"id": "gid://shopify/OrderTransaction/4", "kind": "AUTHORIZATION"}
    order["transactions"] = [card, gift, failed, authorized]
    wanted = desk.wanted(payment, 1500)
    listed = found(desk, wanted, order)
    assert listed.paid == 2000
    [first, second] = desk.refunds.give(replace(wanted, basis=listed.basis)).recorded["input"]["transactions"]
    assert (first["parentId"], first["gateway"], first["amount"]) == (card["id"], "shopify_payments", "10.00")
    assert (second["parentId"], second["gateway"], second["amount"]) == (gift["id"], "gift_card", "5.00")
    with pytest.raises(Rejected, match="more is to be given back"):
        desk.refunds.give(replace(wanted, amount=2001, basis=listed.basis))


def test_what_was_given_back_of_a_transaction_is_not_left_of_it() -> None:
    fake = ShopifyFake()
    desk = Desk("shopify", fake)
    payment = fake.capture("#1001", 1999)
    desk.fake.give_by_hand(payment, 500)
    desk.fake.give_by_hand(payment, 300).status = RefundStatus.FAILED
    listed = found(desk, desk.wanted(payment, 1499), fake.order_json(payment))
    assert [(each["left"], each["presented"]) for each in listed.basis] == [(1499, "14.99")]
    assert [(each.amount, each.status) for each in listed.refunds] == [
        (500, RefundStatus.SUCCEEDED),
        (300, RefundStatus.FAILED),
    ]


def test_a_list_that_may_go_on_is_not_read() -> None:
    fake = ShopifyFake()
    desk = Desk("shopify", fake)
    payment = fake.capture("#1001", 1999)
    for _ in range(40):
        desk.fake.give_by_hand(payment, 1)
    assert found(desk, desk.wanted(payment), fake.order_json(payment)) is None


def test_a_refund_that_gave_back_goods_alone_is_none() -> None:
    fake = ShopifyFake()
    desk = Desk("shopify", fake)
    payment = fake.capture("#1001", 1999)
    order = fake.order_json(payment)
    restocked: dict[str, Any] = {
        "id": "gid://shopify/Refund/1",
        "note": None,
        "createdAt": None,
        "transactions": {"nodes": []},
    }
    order["refunds"] = [restocked, restocked | {"note": f"makegood_key {KEY}"}]
    listed = found(desk, desk.wanted(payment), order)
    assert [(each.amount, each.status, each.key) for each in listed.refunds] == [(1999, RefundStatus.PENDING, KEY)]


def test_without_the_list_nothing_is_asked_for() -> None:
    desk = Desk("shopify", ShopifyFake())
    with pytest.raises(Rejected, match="by which transaction"):
        desk.refunds.give(desk.wanted(desk.fake.capture("#1001", 1999)))


def user_error(message: str) -> Any:
    return {"data": {"refundCreate": {"refund": None, "userErrors": [{"field": None, "message": message}]}}}


def wrong(*codes: str | None) -> Any:
    return {"errors": [{"message": "No.", "extensions": {"code": code} if code else {}} for code in codes]}


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        (user_error("Order does not exist"), Verdict.REJECTED),
        (user_error("Refund amount cannot be more than what is available to refund"), Verdict.LOOK_AGAIN),
        (user_error("The order has already been refunded"), Verdict.LOOK_AGAIN),
        (user_error("This request is currently in progress, please try again."), Verdict.UNKNOWN),
        (user_error("The same idempotency key cannot be used with different parameters"), Verdict.LOOK_AGAIN),
        (wrong("THROTTLED"), Verdict.UNAVAILABLE),
        (wrong("ACCESS_DENIED"), Verdict.REJECTED),
        (wrong(None), Verdict.REJECTED),
        (wrong("INTERNAL_SERVER_ERROR"), Verdict.UNKNOWN),
        (wrong("ACCESS_DENIED", "TIMEOUT"), Verdict.UNKNOWN),
        ({"data": {"refundCreate": None}}, None),
        ({"data": None}, None),
    ],
)
def test_what_200_means_is_in_its_body(said: Any, verdict: Verdict | None) -> None:
    refunds = providers.provider("shopify").refunds
    assert refunds is not None
    read = refunds.given(Wanted("1", "#1", 1, "EUR", KEY, {}), Answered(200, {}, said))
    assert (read.verdict if isinstance(read, Refusal) else read) == verdict
    assert refunds.found(Wanted("1", "#1", 1, "EUR", KEY, {}), Answered(200, {}, said)) is None


def test_webhooks_tell_of_refunds_ours_and_others() -> None:
    fake = ShopifyFake()
    payment = fake.capture("#1001", 1999)
    refund = fake.give_by_hand(payment, 500)
    for status in (RefundStatus.PENDING, RefundStatus.SUCCEEDED, RefundStatus.FAILED):
        refund.status = status
        for key in (None, KEY):
            refund.key = key
            for event in (
                fake.refund_event(refund),
                {**fake.payment_event(payment), "refunds": [fake.refund_event(refund)]},
            ):
                [told] = news(event)
                assert told.payment_id == payment.id
                assert (told.refund.id, told.refund.amount) == (refund.id, 500)
                assert (told.refund.status, told.refund.key) == (status, key)


def test_webhook_and_list_call_a_refund_by_the_same_id() -> None:
    fake = ShopifyFake()
    desk = Desk("shopify", fake)
    payment = fake.capture("#1001", 1999)
    refund = desk.fake.give_by_hand(payment, 500)
    listed = found(desk, desk.wanted(payment), fake.order_json(payment))
    assert news(fake.refund_event(refund))[0].refund == listed.refunds[0]


def test_a_chargeback_is_a_dispute_until_it_is_over_and_an_inquiry_is_none() -> None:
    fake = ShopifyFake()
    payment = fake.capture("#1001", 1999)
    assert not news(fake.dispute_event(payment, 1999, type="inquiry"))
    for status, read in (
        ("needs_response", RefundStatus.DISPUTED),
        ("lost", RefundStatus.DISPUTED),
        ("won", RefundStatus.FAILED),
    ):
        [told] = news(fake.dispute_event(payment, 1999, status=status))
        assert (told.payment_id, told.refund.amount, told.refund.status) == (payment.id, 1999, read)
