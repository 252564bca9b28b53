"""Every provider that gives money back, told by its own webhooks and asked by its own protocol: nothing goes back twice."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.agents.redact import CUT
from app.intake import operation_id
from app.providers.refunds import RefundStatus
from app.sandbox.desk import Hold
from app.wiring import Role
from tests.fakes.adyen import AdyenFake
from tests.fakes.every import FAKES
from tests.fakes.ledger import Captured, Given
from tests.fakes.server import Fault, Kind
from tests.fakes.shopify import ShopifyFake
from tests.fakes.stripe import StripeFake
from tests.road.providing import ProviderWorld, given_back, pending, world_with
from tests.road.refunding import Shop, assert_given_back
from tests.road.service import arrived
from tests.road.world import bought

LISTING = [name for name, fake in FAKES.items() if not fake.tells_later]


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


class TestAdyen:
    """It receives every wish, lists nothing, and tells by events what became of it."""

    @pytest.fixture
    async def adyen(self, tmp_path: Path, database_url: str) -> AsyncIterator[ProviderWorld]:
        async with world_with(tmp_path, database_url, "adyen", AdyenFake()) as world:
            yield world

    async def test_payments_that_come_in_one_batch_are_refunded_each_once(self, adyen: ProviderWorld) -> None:
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
        self, adyen: ProviderWorld, code: str
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
        self, adyen: ProviderWorld, code: str
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

    async def test_an_event_that_comes_before_the_answer_settles_the_refund(self, adyen: ProviderWorld) -> None:
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

    async def test_a_lost_answer_is_settled_by_the_event_alone(self, adyen: ProviderWorld) -> None:
        adyen.fake.script(Kind.GIVE, Fault(drop=True, acts=True), *[Fault(status=503)] * 100)
        async with adyen.serving(attempts=99) as shop:
            payment, id_ = await shop.pay_for("order-1-refused")
            await shop.until_status(id_, "error")
            await shop.tell_of(adyen.fake.ledger.settle(pending(payment).id, RefundStatus.SUCCEEDED))
            assert (await shop.settled(id_))["status"] == "refunded"
            assert_given_back(payment, 1999)


class TestWhatAListGives:
    async def test_a_wish_is_repeated_as_it_was_by_another_process_though_the_list_reads_otherwise_now(
        self, tmp_path: Path, database_url: str
    ) -> None:
        """Shopify's wish names the transactions of the list; other bytes under the same key are refused."""
        fake, hold = Renaming(), Hold()
        fake.script(Kind.GIVE, Fault(hold=hold, drop=True))
        config: dict[str, Any] = {"lease": "1s", "timeout": "20s"}
        async with (
            world_with(tmp_path, database_url, "shopify", fake) as world,
            world.serving(Role.API, **config) as shop,
        ):
            async with world.process(**config) as worker:
                payment, id_ = await shop.pay_for("order-1-refused")
                await arrived(hold)
                await worker.kill()
            hold.released.set()
            fake.gateway = "renamed"
            async with world.process(**config):
                assert (await shop.settled(id_))["status"] == "refunded"
            assert_given_back(payment, 1999)
            first, second = [asked.content for asked in fake.of(Kind.GIVE)]
            assert first == second
            assert await shop.refunds_asked(id_) == [
                ("lookup", "done"),
                ("undo", "crashed"),
                ("lookup", "done"),
                ("undo", "done"),
            ]

    @pytest.mark.parametrize("name", LISTING)
    async def test_a_long_list_is_read_to_its_end(self, tmp_path: Path, database_url: str, name: str) -> None:
        fake = FAKES[name]()
        async with world_with(tmp_path, database_url, name, fake) as world, world.serving() as shop:
            payment = fake.capture("order-1-refused", 1999)
            for _ in range(fake.most_refunds):
                fake.give_by_hand(payment, 1)
            operation = await shop.settled(await shop.hear_of(payment))
            assert operation["status"] == "refunded", operation["why"]
            assert payment.left == 0
            assert payment.refunds[-1].amount == 1999 - fake.most_refunds

    async def test_a_page_of_much_more_than_an_agents_answer_is_read_and_cut_on_record(
        self, tmp_path: Path, database_url: str
    ) -> None:
        fake = Talkative()
        async with world_with(tmp_path, database_url, "stripe", fake) as world, world.serving() as shop:
            payment = fake.capture("order-1-refused", 1999)
            for _ in range(90):
                fake.give_by_hand(payment, 1)
            id_ = await shop.hear_of(payment)
            assert (await shop.settled(id_))["status"] == "refunded"
            assert payment.refunds[-1].amount == 1909
            kept = (await shop.attempts(id_))[1]["response"]["body"]
            assert kept.endswith(CUT)


class Renaming(ShopifyFake):
    """A shop whose gateway has another name from some moment on: what its list gives for a wish is another thing then."""

    gateway = "shopify_payments"

    def order_json(self, payment: Captured) -> dict[str, Any]:
        """An order, its payment by the gateway's present name."""
        said = super().order_json(payment)
        said["transactions"][0]["gateway"] = self.gateway
        return said


class Talkative(StripeFake):
    """An account whose refunds have long notes."""

    def refund_json(self, refund: Given) -> dict[str, Any]:
        """A refund of some ten thousand bytes."""
        said = super().refund_json(refund)
        return said | {"metadata": {**said["metadata"], **{f"note_{number}": "x" * 500 for number in range(20)}}}


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
