"""Workers die and stand still between the list of refunds and the record of ours; the provider's books stay right."""

import random
import signal
from datetime import UTC, datetime, timedelta
from typing import Any

from app.db.engine import create
from app.db.retention import drop_refund_claims
from app.identity import operation_id
from app.sandbox.desk import Hold
from app.wiring import Role
from tests.fakes.server import Fault, Kind
from tests.road.refunding import RefundWorld, assert_given_back, wishes
from tests.road.service import arrived
from tests.road.watch import BEGIN, RECORD, Watch

CONFIG: dict[str, Any] = {"lease": "1s", "timeout": "20s"}

# Under which claims a refused purchase comes to its refund: the purchase, the list, and the wish in the same claim.
LIST, WISH = 2, 3


async def test_a_worker_killed_between_the_list_and_the_wish_leaves_nothing_in_doubt(
    refund_world: RefundWorld, watch: Watch
) -> None:
    async with refund_world.serving(Role.API, **CONFIG) as shop:
        async with refund_world.process(**CONFIG) as worker:
            payment = refund_world.stripe.capture("order-1-refused", 1999)
            async with watch.before_the_call(str(operation_id("shop", payment.id)), WISH):
                id_ = await shop.hear_of(payment)
                await watch.until_blocked(BEGIN)
                await worker.kill()
                await watch.end_blocked(BEGIN)
        assert wishes(refund_world.stripe) == []
        async with refund_world.working(**CONFIG):
            assert (await shop.settled(id_))["status"] == "refunded"
        assert_given_back(payment, 1999)
        assert await shop.refunds_asked(id_) == [("lookup", "done"), ("lookup", "done"), ("undo", "done")]
    assert await watch.ask("SELECT count(*) FROM refund_claims") == 0


async def test_a_worker_killed_before_the_record_of_a_refund_makes_no_second_one(
    refund_world: RefundWorld, watch: Watch
) -> None:
    hold = Hold(after=True)
    refund_world.stripe.script(Kind.GIVE, Fault(hold=hold, acts=True))
    async with refund_world.serving(Role.API, **CONFIG) as shop:
        async with refund_world.process(**CONFIG) as worker:
            payment, id_ = await shop.pay_for("order-1-refused")
            await arrived(hold)
            async with watch.before_the_record(id_):
                hold.released.set()
                await watch.until_blocked(RECORD)
                await worker.kill()
                await watch.end_blocked(RECORD)
        assert await watch.ask("SELECT count(*) FROM refund_claims") == 1, "its turn goes on"
        async with refund_world.working(**CONFIG):
            assert (await shop.settled(id_))["status"] == "refunded"
        assert_given_back(payment, 1999)
        assert len(wishes(refund_world.stripe)) == 1
        assert await shop.refunds_asked(id_) == [("lookup", "done"), ("undo", "crashed"), ("lookup", "done")]
    assert await watch.ask("SELECT count(*) FROM refund_claims") == 0


async def test_a_wish_in_doubt_keeps_another_operation_of_the_payment_waiting(
    refund_world: RefundWorld,
) -> None:
    """Nobody knows whether the first one's wish arrives yet: what the second would ask for could come on top."""
    hold = Hold()
    refund_world.stripe.script(Kind.GIVE, Fault(hold=hold, acts=True))
    config = {**CONFIG, "other_step": True, "in_flight": "30s"}
    async with refund_world.serving(Role.API, **config) as shop:
        async with refund_world.process(**config) as worker:
            payment, first = await shop.pay_for("order-1-refused")
            await arrived(hold)
            await worker.kill()
        second = await shop.hear_of(payment, "second")
        refund_world.stripe.script(Kind.LIST, *[Fault(status=503)] * 3)
        async with refund_world.working(**config):
            operation = await shop.until_status(second, "error")
            assert operation["last_error"]["detail"] == "another operation is giving this payment back"
            hold.released.set()
            for id_ in (first, second):
                assert (await shop.settled(id_))["status"] == "refunded"
        assert_given_back(payment, 1999)


async def test_a_worker_that_stood_still_over_its_wish_brings_its_answer_late(refund_world: RefundWorld) -> None:
    hold = Hold()
    refund_world.stripe.script(Kind.GIVE, Fault(hold=hold, acts=True))
    config = {**CONFIG, "attempts": 2}
    async with refund_world.serving(Role.API, **config) as shop:
        async with refund_world.process(**config) as zombie:
            payment, id_ = await shop.pay_for("order-1-refused")
            await arrived(hold)
            zombie.send(signal.SIGSTOP)
            refund_world.stripe.script(Kind.LIST, *[Fault(status=500)] * 100)
            async with refund_world.working(**config):
                assert (await shop.settled(id_))["held_reason"] == "undo_exhausted"
            hold.released.set()
            zombie.send(signal.SIGCONT)
            await shop.until_status(id_, "refunded")
        assert_given_back(payment, 1999)
        assert "late_answer" in await shop.causes(id_)


async def test_workers_that_die_by_chance_give_each_payment_back_once(refund_world: RefundWorld, watch: Watch) -> None:
    chance = random.Random(4)
    faults = [Fault(drop=True), Fault(drop=True, acts=True), Fault(status=500, acts=True), Fault(status=429)]
    refund_world.stripe.script(Kind.GIVE, *chance.choices([*faults, Fault(acts=True)], k=12))
    refund_world.stripe.script(Kind.LIST, *chance.choices([*faults, Fault(acts=True)], k=12))
    async with refund_world.serving(Role.API, **CONFIG) as shop:
        paid = [await shop.pay_for(f"order-{number}-refused") for number in range(8)]
        for _ in range(4):
            async with refund_world.process(**CONFIG) as worker:
                hold = Hold(after=chance.random() < 0.5)
                refund_world.stripe.script(chance.choice([Kind.GIVE, Kind.LIST]), Fault(hold=hold, acts=True))
                await shop.until_more_is_asked()
                await worker.kill()
                hold.released.set()
        async with refund_world.working(**CONFIG):
            for payment, id_ in paid:
                operation = await shop.settled(id_)
                assert operation["status"] == "refunded", operation["why"]
                assert_given_back(payment, 1999)
    # Who dies between the record and giving the turn back leaves it to retention.
    engine = create(refund_world.database_url, 1)
    await drop_refund_claims(engine, datetime.now(UTC) + timedelta(days=1))
    await engine.dispose()
    assert await watch.ask("SELECT count(*) FROM refund_claims") == 0
