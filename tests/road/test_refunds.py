"""Journeys that end in a refund by a provider's own protocol: the list first, then the wish, and nothing twice."""

from tests.fakes.server import Fault, Kind
from tests.road.refunding import RefundWorld, assert_given_back, wishes


async def test_a_refused_purchase_is_refunded_after_a_look_at_the_list(refund_world: RefundWorld) -> None:
    async with refund_world.serving() as shop:
        payment, id_ = await shop.pay_for("order-1-refused")
        operation = await shop.settled(id_)
        assert (operation["status"], operation["reason"]) == ("refunded", "rejected")
        assert_given_back(payment, 1999)
        assert await shop.outcomes(id_) == [
            ("purchase", "do", "rejected"),
            ("payment", "lookup", "done"),
            ("payment", "undo", "done"),
        ]
        assert operation["external_refunds"] == []
