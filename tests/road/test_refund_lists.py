"""What the list of a payment's refunds gives for the wish: all of what went back, and what the wish has to name."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from app.agents.redact import CUT
from app.sandbox.desk import Hold
from app.wiring import Role
from tests.fakes.every import FAKES
from tests.fakes.ledger import Captured, Given
from tests.fakes.server import Fault, Kind
from tests.fakes.shopify import ShopifyFake
from tests.fakes.stripe import StripeFake
from tests.road.providing import world_with
from tests.road.refunding import assert_given_back
from tests.road.service import arrived

LISTING = [name for name, fake in FAKES.items() if not fake.tells_later]


async def test_a_wish_is_repeated_as_it_was_by_another_process_though_the_list_reads_otherwise_now(
    tmp_path: Path, database_url: str
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
async def test_a_long_list_is_read_to_its_end(tmp_path: Path, database_url: str, name: str) -> None:
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
    tmp_path: Path, database_url: str
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


async def test_a_refund_in_the_payers_currency_whose_answer_was_lost_is_found(
    tmp_path: Path, database_url: str
) -> None:
    fake = ShopifyFake()
    fake.presented = ("USD", Decimal("1.1007"))
    fake.script(Kind.GIVE, Fault(drop=True, acts=True))
    async with world_with(tmp_path, database_url, "shopify", fake) as world, world.serving() as shop:
        payment, id_ = await shop.pay_for("order-1-refused")
        operation = await shop.settled(id_)
        assert operation["status"] == "refunded", operation["why"]
        assert_given_back(payment, 1999)
        assert len(fake.of(Kind.GIVE)) == 1


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
