"""What a provider tells of refunds by itself: ours come further or fail, others give money back, before and after."""

import asyncio

import pytest

from app.providers.refunds import RefundStatus
from app.providers.stripe.refunds import StripeRefunds
from app.saga.model import Action
from app.sandbox.desk import Hold
from app.sandbox.manners import Ware
from tests.fakes.ledger import Given
from tests.fakes.server import Fault, Kind
from tests.road.refunding import SOON, RefundWorld, Shop, assert_given_back, nothing_more, wishes
from tests.road.service import arrived
from tests.road.world import bought


def only(world: RefundWorld) -> Given:
    """The one refund there is."""
    [refund] = [refund for payment in world.stripe.ledger.payments.values() for refund in payment.refunds]
    return refund


async def waiting_refund(world: RefundWorld, shop: Shop) -> str:
    """An operation whose refund is pending at the provider."""
    world.stripe.outcome = RefundStatus.PENDING
    _, id_ = await shop.pay_for("order-1-refused")
    operation = await shop.until_status(id_, "waiting")
    assert operation["phase"] == "refund"
    assert operation["next_run_at"] is not None
    assert operation["last_error"] is None
    assert "psp will confirm later" in operation["why"]
    return id_


class TestOurs:
    async def test_a_pending_refund_waits_for_the_provider_and_its_event_settles_it(
        self, refund_world: RefundWorld
    ) -> None:
        async with refund_world.serving() as shop:
            id_ = await waiting_refund(refund_world, shop)
            refund = refund_world.stripe.ledger.settle(only(refund_world).id, RefundStatus.SUCCEEDED)
            await shop.tell_of(refund)
            operation = await shop.settled(id_)
            assert operation["status"] == "refunded"
            assert operation["external_refunds"] == []
            assert (await shop.causes(id_))[-1] == "refund_heard"
            assert len(wishes(refund_world.stripe)) == 1

    async def test_a_pending_refund_is_asked_about_again_where_no_event_comes(
        self, refund_world: RefundWorld, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(StripeRefunds, "ask_again", SOON)
        async with refund_world.serving() as shop:
            id_ = await waiting_refund(refund_world, shop)
            refund_world.stripe.ledger.settle(only(refund_world).id, RefundStatus.SUCCEEDED)
            assert (await shop.settled(id_))["status"] == "refunded"
            assert len(wishes(refund_world.stripe)) == 1

    async def test_an_operator_may_have_a_pending_refund_asked_about_now(self, refund_world: RefundWorld) -> None:
        async with refund_world.serving() as shop:
            id_ = await waiting_refund(refund_world, shop)
            refund_world.stripe.ledger.settle(only(refund_world).id, RefundStatus.SUCCEEDED)
            assert (await shop.post(f"/operations/{id_}/cancel")).json()["status"] == "waiting"
            assert (await shop.post(f"/operations/{id_}/retry")).status_code == 200
            assert (await shop.settled(id_))["status"] == "refunded"

    async def test_an_operator_may_resolve_what_waits(self, refund_world: RefundWorld) -> None:
        async with refund_world.serving() as shop:
            id_ = await waiting_refund(refund_world, shop)
            ended = await shop.post(
                f"/operations/{id_}/resolve", step="payment", outcome="undone", note="seen in the bank"
            )
            assert ended.json()["status"] == "refunded"

    async def test_a_pending_refund_that_fails_is_held_and_a_retry_makes_another(
        self, refund_world: RefundWorld
    ) -> None:
        async with refund_world.serving() as shop:
            id_ = await waiting_refund(refund_world, shop)
            await shop.tell_of(refund_world.stripe.ledger.settle(only(refund_world).id, RefundStatus.FAILED))
            operation = await shop.settled(id_)
            assert (operation["status"], operation["held_reason"]) == ("held", "refund_failed")
            assert operation["steps"][0]["status"] == "undo_failed"
            refund_world.stripe.outcome = RefundStatus.SUCCEEDED
            assert (await shop.post(f"/operations/{id_}/retry")).status_code == 200
            assert (await shop.settled(id_))["status"] == "refunded"
            first, second = wishes(refund_world.stripe)
            assert first[0] != second[0]
            [payment] = refund_world.stripe.ledger.payments.values()
            assert_given_back(payment, 1999)

    async def test_a_refund_that_fails_days_later_reopens_the_operation(self, refund_world: RefundWorld) -> None:
        async with refund_world.serving() as shop:
            payment, id_ = await shop.pay_for("order-1-refused")
            assert (await shop.settled(id_))["status"] == "refunded"
            failed = refund_world.stripe.ledger.settle(only(refund_world).id, RefundStatus.FAILED)
            await shop.tell_of(failed)
            operation = await shop.settled(id_)
            assert (operation["status"], operation["held_reason"]) == ("held", "refund_failed")
            assert operation["finished_at"] is None
            await shop.tell_of(failed)
            assert (await shop.show(id_))["revision"] == operation["revision"], "told again, it changes nothing"
            assert (await shop.post(f"/operations/{id_}/retry")).status_code == 200
            assert (await shop.settled(id_))["status"] == "refunded"
            await shop.tell_of(failed)
            assert (await shop.show(id_))["status"] == "refunded", "it is the first one's failure"
            assert_given_back(payment, 1999)

    async def test_an_event_that_comes_before_the_answer_is_not_somebody_elses(self, refund_world: RefundWorld) -> None:
        hold = Hold(after=True)
        refund_world.stripe.script(Kind.GIVE, Fault(hold=hold, acts=True))
        async with refund_world.serving() as shop:
            payment, id_ = await shop.pay_for("order-1-refused")
            await arrived(hold)
            await shop.tell_of(only(refund_world))
            hold.released.set()
            operation = await shop.settled(id_)
            assert (operation["status"], operation["external_refunds"]) == ("refunded", [])
            assert_given_back(payment, 1999)


class TestOthers:
    async def test_a_refund_that_was_told_before_its_payment_turns_it_at_once(self, refund_world: RefundWorld) -> None:
        async with refund_world.serving() as shop:
            payment = refund_world.stripe.capture("order-1", 1999)
            refund = refund_world.stripe.give_by_hand(payment, 1999)
            await shop.tell_of(refund)
            id_ = await shop.hear_of(payment)
            operation = await shop.settled(id_)
            assert (operation["status"], operation["reason"]) == ("refunded", "refunded_elsewhere")
            assert bought(refund_world.supplier.ledger) == []
            assert wishes(refund_world.stripe) == []
            [shown] = operation["external_refunds"]
            assert (shown["id"], shown["amount"], shown["status"]) == (refund.id, 1999, "succeeded")

    async def test_a_refund_while_the_purchase_waits_turns_it(self, refund_world: RefundWorld) -> None:
        async with refund_world.serving() as shop:
            payment, id_ = await shop.pay_for("order-1-busy")
            await shop.until_status(id_, "error")
            await shop.tell_of(refund_world.stripe.give_by_hand(payment, 1999))
            operation = await shop.settled(id_)
            assert (operation["status"], operation["reason"]) == ("refunded", "refunded_elsewhere")
            assert wishes(refund_world.stripe) == []

    async def test_a_call_that_is_out_is_awaited_and_what_it_brings_is_undone(self, refund_world: RefundWorld) -> None:
        hold = refund_world.supplier.desk.hold("order-1", Ware.PURCHASE, Action.DO)
        async with refund_world.serving() as shop:
            payment, id_ = await shop.pay_for("order-1")
            await arrived(hold)
            await shop.tell_of(refund_world.stripe.give_by_hand(payment, 1999))
            assert (await shop.show(id_))["status"] == "processing"
            hold.released.set()
            operation = await shop.settled(id_)
            assert (operation["status"], operation["reason"]) == ("refunded", "refunded_elsewhere")
            deeds = [entry.deed for entry in refund_world.supplier.ledger.entries]
            assert deeds == ["bought", "cancelled"]
            assert wishes(refund_world.stripe) == []

    async def test_after_the_purchase_it_is_shown_and_nothing_else_happens(self, refund_world: RefundWorld) -> None:
        async with refund_world.serving() as shop:
            payment, id_ = await shop.pay_for("order-1")
            operation = await shop.settled(id_)
            assert (operation["status"], operation["external_refunds"]) == ("succeeded", [])
            refund = refund_world.stripe.give_by_hand(payment, 1999)
            await shop.tell_of(refund)
            await shop.tell_of(refund)
            after = await shop.show(id_)
            assert (after["status"], after["revision"]) == ("succeeded", operation["revision"])
            assert [one["id"] for one in after["external_refunds"]] == [refund.id]
            [listed] = (await shop.get("/operations?status=succeeded"))["items"]
            assert listed["external_refunds"] == after["external_refunds"]

    async def test_a_part_that_others_gave_back_lets_the_purchase_go_on(self, refund_world: RefundWorld) -> None:
        async with refund_world.serving() as shop:
            payment = refund_world.stripe.capture("order-1", 1999)
            await shop.tell_of(refund_world.stripe.give_by_hand(payment, 1998))
            operation = await shop.settled(await shop.hear_of(payment))
            assert operation["status"] == "succeeded"
            assert [one["amount"] for one in operation["external_refunds"]] == [1998]

    async def test_after_a_part_by_others_a_cancel_gives_the_rest(self, refund_world: RefundWorld) -> None:
        async with refund_world.serving() as shop:
            payment, id_ = await shop.pay_for("order-1")
            await shop.settled(id_)
            await shop.tell_of(refund_world.stripe.give_by_hand(payment, 999))
            await shop.post(f"/operations/{id_}/cancel", undo_succeeded=True)
            operation = await shop.settled(id_)
            assert operation["status"] == "refunded"
            assert_given_back(payment, 999, 1000)
            assert [one["amount"] for one in operation["external_refunds"]] == [999]

    async def test_a_dispute_counts_as_given_back_though_no_list_has_it(self, refund_world: RefundWorld) -> None:
        async with refund_world.serving() as shop:
            payment, id_ = await shop.pay_for("order-1")
            await shop.settled(id_)
            await shop.tell(refund_world.stripe.dispute_event(payment, 1999))
            await shop.post(f"/operations/{id_}/cancel", undo_succeeded=True)
            operation = await shop.settled(id_)
            assert (operation["status"], operation["external_refunds"][0]["status"]) == ("refunded", "disputed")
            assert wishes(refund_world.stripe) == []

    async def test_what_a_human_gives_back_by_hand_ends_a_held_operation(self, refund_world: RefundWorld) -> None:
        refund_world.stripe.script(Kind.GIVE, Fault(status=402))
        async with refund_world.serving() as shop:
            payment, id_ = await shop.pay_for("order-1-refused")
            assert (await shop.settled(id_))["status"] == "held"
            await shop.tell_of(refund_world.stripe.give_by_hand(payment, 1999))
            await shop.until_status(id_, "refunded")
            assert_given_back(payment, 1999)


async def test_payment_and_refund_told_at_the_same_moment_never_miss_each_other(refund_world: RefundWorld) -> None:
    async with refund_world.serving() as shop:
        payments = [refund_world.stripe.capture(f"order-{number}-down", 1999) for number in range(10)]
        given = [refund_world.stripe.give_by_hand(payment, 1999) for payment in payments]
        heard, _ = await asyncio.gather(
            asyncio.gather(*(shop.hear_of(payment) for payment in payments)),
            asyncio.gather(*(shop.tell_of(refund) for refund in given)),
        )
        for id_ in heard:
            operation = await shop.settled(id_)
            assert (operation["status"], operation["reason"]) == ("refunded", "refunded_elsewhere")
        assert wishes(refund_world.stripe) == []


async def test_two_operations_of_one_payment_give_it_back_once(refund_world: RefundWorld) -> None:
    """Two sources have told of it; one step name makes one key."""
    async with refund_world.serving() as shop:
        payment = refund_world.stripe.capture("order-1-refused", 1999)
        ids = await asyncio.gather(shop.hear_of(payment), shop.hear_of(payment, "second"))
        assert len(set(ids)) == 2
        for id_ in ids:
            assert (await shop.settled(id_))["status"] == "refunded"
        assert_given_back(payment, 1999)


async def test_two_operations_with_keys_of_their_own_wait_for_each_other(refund_world: RefundWorld) -> None:
    hold = Hold(after=True)
    refund_world.stripe.script(Kind.GIVE, Fault(hold=hold, acts=True))
    async with refund_world.serving(other_step=True) as shop:
        payment = refund_world.stripe.capture("order-1-refused", 1999)
        first = await shop.hear_of(payment)
        await arrived(hold)
        second = await shop.hear_of(payment, "second")
        put_off = await shop.until_status(second, "error")
        assert put_off["last_error"]["detail"] == "another operation is giving this payment back"
        assert put_off["failure_count"] == 0
        assert (await shop.show(first))["status"] == "processing"
        hold.released.set()
        for id_ in (first, second):
            assert (await shop.settled(id_))["status"] == "refunded"
        assert_given_back(payment, 1999)
        assert len(wishes(refund_world.stripe)) == 1


async def test_an_operation_that_is_held_without_a_wish_in_doubt_does_not_keep_the_turn(
    refund_world: RefundWorld,
) -> None:
    refund_world.stripe.script(Kind.GIVE, Fault(status=402))
    async with refund_world.serving(other_step=True) as shop:
        payment = refund_world.stripe.capture("order-1-refused", 1999)
        first = await shop.hear_of(payment)
        assert (await shop.settled(first))["status"] == "held"
        second = await shop.hear_of(payment, "second")
        assert (await shop.settled(second))["status"] == "refunded"
        assert_given_back(payment, 1999)
        await nothing_more(shop, first, "held")
