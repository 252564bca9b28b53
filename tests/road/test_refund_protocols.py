"""Every provider that gives money back, told by its own webhooks and asked by its own protocol: nothing goes back twice."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.providers.refunds import RefundStatus
from tests.fakes.every import FAKES
from tests.fakes.ledger import Given
from tests.fakes.server import Fault, Kind
from tests.road.providing import ProviderWorld, given_back, pending, world_with
from tests.road.refunding import Shop, assert_given_back
from tests.road.world import bought


@pytest.fixture(params=FAKES)
async def any_world(request: pytest.FixtureRequest, tmp_path: Path, database_url: str) -> AsyncIterator[ProviderWorld]:
    """Each provider in its turn."""
    async with world_with(tmp_path, database_url, request.param, FAKES[request.param]()) as world:
        yield world


FAULTS = {
    "none": [],
    "lost after the effect": [Fault(drop=True, acts=True)],
    "lost before the effect": [Fault(drop=True)],
    "busy, then broken before and after": [Fault(429), Fault(500), Fault(500, acts=True)],
}


@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
async def test_a_refused_purchase_is_refunded_once(any_world: ProviderWorld, faults: list[Fault]) -> None:
    any_world.fake.script(Kind.GIVE, *faults)
    async with any_world.serving() as shop:
        payment, id_ = await shop.pay_for("order-1-refused")
        operation = await given_back(shop, payment, id_)
        assert (operation["reason"], operation["amount"], operation["external_refunds"]) == ("rejected", 1999, [])
        assert_given_back(payment, 1999)
        assert len(payment.refunds) == 1
        wishes = {(asked.path, asked.content) for asked in any_world.fake.of(Kind.GIVE)}
        assert len(wishes) == 1, "a repetition has the same bytes"


async def test_a_refund_told_before_its_payment_lets_nothing_be_bought_nor_given_back_again(
    any_world: ProviderWorld,
) -> None:
    async with any_world.serving() as shop:
        payment = any_world.fake.capture("order-1", 1999)
        given = any_world.fake.give_by_hand(payment, 1999)
        await shop.tell_of(given)
        operation = await shop.settled(await shop.hear_of(payment))
        assert (operation["status"], operation["reason"]) == ("refunded", "refunded_elsewhere")
        assert [(each["id"], each["amount"]) for each in operation["external_refunds"]] == [(given.id, 1999)]
        assert bought(any_world.supplier.ledger) == []
        assert any_world.fake.of(Kind.GIVE) == []
        assert_given_back(payment, 1999)


async def test_what_others_gave_back_in_part_is_not_given_again(any_world: ProviderWorld) -> None:
    async with any_world.serving() as shop:
        payment = any_world.fake.capture("order-1-refused", 1999)
        await shop.tell_of(any_world.fake.give_by_hand(payment, 500))
        id_ = await shop.hear_of(payment)
        operation = await given_back(shop, payment, id_)
        assert [each["amount"] for each in operation["external_refunds"]] == [500]
        assert_given_back(payment, 500, 1499)


async def test_a_pending_refund_is_awaited_and_settled_by_what_is_told_or_listed(any_world: ProviderWorld) -> None:
    any_world.fake.outcome = RefundStatus.PENDING
    async with any_world.serving() as shop:
        payment, id_ = await shop.pay_for("order-1-refused")
        await shop.until_status(id_, "waiting")
        await settles(any_world, shop, id_, pending(payment), RefundStatus.SUCCEEDED)
        operation = await shop.settled(id_)
        assert (operation["status"], operation["external_refunds"]) == ("refunded", [])
        assert_given_back(payment, 1999)
        assert len(any_world.fake.of(Kind.GIVE)) == 1


async def test_a_pending_refund_that_fails_is_held_and_a_retry_makes_another(any_world: ProviderWorld) -> None:
    any_world.fake.outcome = RefundStatus.PENDING
    async with any_world.serving() as shop:
        payment, id_ = await shop.pay_for("order-1-refused")
        await shop.until_status(id_, "waiting")
        await settles(any_world, shop, id_, pending(payment), RefundStatus.FAILED)
        operation = await shop.settled(id_)
        assert (operation["status"], operation["held_reason"]) == ("held", "refund_failed")
        any_world.fake.outcome = RefundStatus.SUCCEEDED
        assert (await shop.post(f"/operations/{id_}/retry")).status_code == 200
        await given_back(shop, payment, id_)
        assert_given_back(payment, 1999)
        assert len({asked.content for asked in any_world.fake.of(Kind.GIVE)}) == 2


# Shopify tells by no event what became of a refund, and an operation that is refunded asks no more.
@pytest.mark.parametrize("any_world", [name for name in FAKES if name != "shopify"], indirect=True)
async def test_a_refund_that_fails_days_later_is_held_and_a_retry_makes_another(any_world: ProviderWorld) -> None:
    async with any_world.serving() as shop:
        payment, id_ = await shop.pay_for("order-1-refused")
        await given_back(shop, payment, id_)
        failed = any_world.fake.ledger.settle(payment.refunds[0].id, RefundStatus.FAILED)
        for _ in range(2):
            await shop.tell_of(failed)
            operation = await shop.settled(id_)
            assert (operation["status"], operation["held_reason"]) == ("held", "refund_failed")
        assert (await shop.post(f"/operations/{id_}/retry")).status_code == 200
        await given_back(shop, payment, id_)
        await shop.tell_of(failed)
        assert (await shop.show(id_))["status"] == "refunded"
        assert_given_back(payment, 1999)


async def test_what_others_give_back_after_the_purchase_is_shown_and_nothing_more_is_done(
    any_world: ProviderWorld,
) -> None:
    async with any_world.serving() as shop:
        payment, id_ = await shop.pay_for("order-1")
        assert (await shop.settled(id_))["status"] == "succeeded"
        given = any_world.fake.give_by_hand(payment, 1999)
        await shop.tell_of(given)
        operation = await shop.show(id_)
        assert operation["status"] == "succeeded"
        assert [(each["id"], each["amount"], each["status"]) for each in operation["external_refunds"]] == [
            (given.id, 1999, "succeeded")
        ]
        assert any_world.fake.of(Kind.GIVE) == []
        cancelled = await shop.post(f"/operations/{id_}/cancel", undo_succeeded=True)
        assert cancelled.status_code in {200, 202}, cancelled.text
        assert (await shop.settled(id_))["status"] == "refunded"
        assert_given_back(payment, 1999)


async def settles(world: ProviderWorld, shop: Shop, id_: str, refund: Given, status: RefundStatus) -> None:
    """A refund comes to its end. Shopify tells of that by no event: there a human has the list asked for at once."""
    settled = world.fake.ledger.settle(refund.id, status)
    if world.provider == "shopify":
        assert (await shop.post(f"/operations/{id_}/retry")).status_code == 200
    else:
        await shop.tell_of(settled)
