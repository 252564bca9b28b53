"""Adyen receives every wish and lists nothing: its events alone tell what became of a refund, and of others'."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.identity import operation_id
from app.providers.refunds import RefundStatus
from app.sandbox.desk import Hold
from tests.fakes.adyen import AdyenFake
from tests.fakes.ledger import Captured, Given
from tests.fakes.server import Fault, Kind
from tests.road.providing import ProviderWorld, given_back, pending, world_with
from tests.road.refunding import Shop, assert_given_back
from tests.road.service import arrived


@pytest.fixture
async def adyen(tmp_path: Path, database_url: str) -> AsyncIterator[ProviderWorld]:
    async with world_with(tmp_path, database_url, "adyen", AdyenFake()) as world:
        yield world


async def test_payments_that_come_in_one_batch_are_refunded_each_once(adyen: ProviderWorld) -> None:
    async with adyen.serving() as shop:
        paid = [adyen.fake.capture(f"order-{number}-refused", 1999) for number in range(3)]
        batch = batch_of(*(adyen.fake.payment_event(payment) for payment in paid))
        assert (await shop.tell(batch)).text == "[accepted]"
        ids = [str(operation_id("shop", payment.id)) for payment in paid]
        for id_ in ids:
            await shop.until_status(id_, "waiting")
        settled = [adyen.fake.ledger.settle(pending(payment).id, RefundStatus.SUCCEEDED) for payment in paid]
        await shop.tell(batch_of(*(adyen.fake.refund_event(refund) for refund in settled)))
        for payment, id_ in zip(paid, ids, strict=True):
            assert (await shop.settled(id_))["status"] == "refunded"
            assert_given_back(payment, 1999)
            assert await shop.refunds_asked(id_) == [("undo", "done")]


@pytest.mark.parametrize("code", ["REFUND", "REFUND_FAILED"])
async def test_a_refund_that_fails_while_it_is_awaited_is_held_and_a_retry_makes_another(
    adyen: ProviderWorld, code: str
) -> None:
    async with adyen.serving() as shop:
        payment, id_ = await shop.pay_for("order-1-refused")
        await shop.until_status(id_, "waiting")
        failed = adyen.fake.ledger.settle(pending(payment).id, RefundStatus.FAILED)
        await shop.tell(told_by(adyen, failed, code, success=code != "REFUND"))
        operation = await shop.settled(id_)
        assert (operation["status"], operation["held_reason"]) == ("held", "refund_failed")
        await makes_another(adyen, shop, payment, id_)


@pytest.mark.parametrize("code", ["REFUND_FAILED", "REFUNDED_REVERSED"])
async def test_a_refund_that_fails_days_later_is_held_and_told_twice_it_changes_nothing(
    adyen: ProviderWorld, code: str
) -> None:
    async with adyen.serving() as shop:
        payment, id_ = await shop.pay_for("order-1-refused")
        await given_back(shop, payment, id_)
        failed = adyen.fake.ledger.settle(payment.refunds[0].id, RefundStatus.FAILED)
        for _ in range(2):
            await shop.tell(told_by(adyen, failed, code))
            operation = await shop.settled(id_)
            assert (operation["status"], operation["held_reason"]) == ("held", "refund_failed")
        await makes_another(adyen, shop, payment, id_)
        await shop.tell(told_by(adyen, failed, code))
        assert (await shop.show(id_))["status"] == "refunded"


async def test_an_event_that_comes_before_the_answer_settles_the_refund(adyen: ProviderWorld) -> None:
    hold = Hold(after=True)
    adyen.fake.script(Kind.GIVE, Fault(hold=hold, acts=True))
    async with adyen.serving() as shop:
        payment, id_ = await shop.pay_for("order-1-refused")
        await arrived(hold)
        await shop.tell_of(adyen.fake.ledger.settle(pending(payment).id, RefundStatus.SUCCEEDED))
        hold.released.set()
        operation = await shop.settled(id_)
        assert (operation["status"], operation["external_refunds"]) == ("refunded", [])
        assert_given_back(payment, 1999)


async def test_a_lost_answer_is_settled_by_the_event_alone(adyen: ProviderWorld) -> None:
    adyen.fake.script(Kind.GIVE, Fault(drop=True, acts=True), *[Fault(status=503)] * 100)
    async with adyen.serving(attempts=99) as shop:
        payment, id_ = await shop.pay_for("order-1-refused")
        await shop.until_status(id_, "error")
        await shop.tell_of(adyen.fake.ledger.settle(pending(payment).id, RefundStatus.SUCCEEDED))
        assert (await shop.settled(id_))["status"] == "refunded"
        assert_given_back(payment, 1999)


def batch_of(*events: dict[str, Any]) -> dict[str, Any]:
    """The items of several events in one body."""
    return {"live": "true", "notificationItems": [event["notificationItems"][0] for event in events]}


def told_by(world: ProviderWorld, refund: Given, code: str, *, success: bool = True) -> dict[str, Any]:
    """What one of Adyen's events tells of a refund."""
    fake = world.fake
    assert isinstance(fake, AdyenFake)
    return fake.refund_event(refund, code, success=success)


async def makes_another(world: ProviderWorld, shop: Shop, payment: Captured, id_: str) -> None:
    """A human's retry makes a refund with another key, and with that the payment is given back."""
    assert (await shop.post(f"/operations/{id_}/retry")).status_code == 200
    await given_back(shop, payment, id_)
    assert_given_back(payment, 1999)
    first, second = [asked.json["reference"] for asked in world.fake.of(Kind.GIVE)]
    assert first != second
