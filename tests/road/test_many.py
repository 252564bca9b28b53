"""Many workers and many payments on one database: nothing twice, nothing held open, nobody kept waiting."""

import asyncio
import contextlib
import json
from functools import partial

from app.providers import Delivery
from app.providers.reading import read
from app.saga.model import Action
from app.sandbox.desk import Hold
from app.sandbox.ledger import Deed
from app.sandbox.manners import Ware
from app.wiring import Role, Service
from tests.road.service import arrived, until
from tests.road.watch import Watch
from tests.road.world import World, bought

# Longer than any test waits: what is done at all was not found by polling.
NO_POLLING = "10m"

BUSY = """
SELECT count(*) FROM pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid() AND (state <> 'idle' OR xact_start IS NOT NULL)
"""


async def take_in(service: Service, orders: list[str]) -> list[str]:
    """Payments that are on disk already; the ids of their operations."""
    source = service.context.settings.sources["shop"]

    async def one(order: str) -> str:
        data = {"payment_id": f"pay-{order}", "order_id": order, "amount": 1999, "currency": "EUR"}
        body = json.dumps({"type": "payment.received", "data": data}).encode()
        receipt = await service.context.intake.receive(source, read(source, Delivery(None), body), body)
        return str(receipt.operation_id)

    return list(await asyncio.gather(*(one(order) for order in orders)))


async def test_eight_workers_on_a_thousand_operations_call_each_step_once(world: World, watch: Watch) -> None:
    """Traps 43 and 45: a claim that takes more than it is given starves the others, or gives one row to two of them."""
    async with contextlib.AsyncExitStack() as running:
        await running.enter_async_context(world.serving(Role.API))
        # All are there before there is work: with a thousand calls in one loop, a slow machine lets no newcomer connect.
        for _ in range(8):
            await running.enter_async_context(world.working(concurrency=16))
        ids = await take_in(world.services[0], [f"order-{number}" for number in range(1000)])

        async def all_done() -> bool:
            left: int = await watch.ask("SELECT count(*) FROM operations WHERE status <> 'succeeded'")
            return left == 0

        await until(all_done)
    keys = [visit.key for visit in world.supplier.desk.visits]
    assert sorted(map(str, keys)) == sorted(f"{one}:purchase:do" for one in ids)
    assert len(world.supplier.ledger.of(Deed.BOUGHT)) == 1000
    assert await watch.ask("SELECT count(*) FROM attempts WHERE outcome = 'done'") == 1000
    assert await watch.ask("SELECT max(lease) FROM operations") == 1
    assert await watch.ask("SELECT count(DISTINCT worker) FROM attempts") > 1


async def test_several_services_and_workers_side_by_side_make_one_purchase_of_each_payment(world: World) -> None:
    """Trap 33: one payment told to two services at the same moment, by two events."""
    async with (
        world.serving(Role.API) as one,
        world.serving(Role.API) as other,
        world.serving(Role.ALL),
        world.working(),
    ):
        payments = [world.psp.capture(f"order-{number}", 1999) for number in range(20)]
        urls = [f"{service.http.base_url}/webhooks/shop" for service in (one, other)]
        events = [world.psp.event(payment, url=url) for payment in payments for url in urls]
        answers = await asyncio.gather(*(world.psp.send(event) for event in events))
        said = [answer.json() for answer in answers if answer is not None]
        assert sorted(answer["status"] for answer in said) == ["accepted"] * 20 + ["duplicate"] * 20
        ids = {answer["operation_id"] for answer in said}
        assert len(ids) == 20
        ended = await asyncio.gather(*(one.settled(operation) for operation in ids))
        assert {operation["status"] for operation in ended} == {"succeeded"}
        shown_by_both = [await service.show(operation) for operation in ids for service in (one, other)]
        assert shown_by_both[::2] == shown_by_both[1::2]
    assert len(bought(world.supplier.ledger)) == 20


async def test_a_worker_in_another_process_is_woken_by_a_payment(world: World) -> None:
    """Trap 49: the notice is sent after the commit, on a connection of its own, and to whoever listens by then."""
    async with (
        world.process(Role.WORKER, poll_interval=NO_POLLING),
        world.serving(Role.API, poll_interval=NO_POLLING) as service,
    ):
        for number in range(3):
            operation = await service.settled(await service.pay(f"order-{number}"))
            assert operation["status"] == "succeeded"


async def test_what_a_worker_has_put_off_it_takes_up_when_it_is_due_though_it_hardly_polls(world: World) -> None:
    async with world.serving(poll_interval=NO_POLLING) as service:
        operation = await service.settled(await service.pay("order-1-lost"))
        assert operation["status"] == "succeeded"


async def test_nothing_of_the_database_is_in_use_while_a_call_is_out(world: World, watch: Watch) -> None:
    """Traps 10 and 47: a transaction, or a connection of the pool, that is held over a call; a slow agent would drain it.

    Invariant I34: no transaction is open while a socket to an agent is.
    """
    async with world.serving() as service:
        holds = [world.supplier.desk.hold(f"order-{number}", Ware.PURCHASE, Action.DO) for number in range(20)]
        ids = [await service.pay(f"order-{number}") for number in range(20)]
        await arrived(*holds)

        async def nothing_in_use() -> bool:
            # Claims and heartbeats come and go meanwhile; what the calls held would stay as long as they do.
            busy: int = await watch.ask(BUSY)
            return busy == 0

        await until(nothing_in_use)
        assert world.services[0].context.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
        assert not any(hold.released.is_set() for hold in holds)
        for hold in holds:
            hold.released.set()
        assert {(await service.settled(one))["status"] for one in ids} == {"succeeded"}


async def test_a_worker_claims_no_more_than_it_has_room_for(world: World, watch: Watch) -> None:
    """Trap 45, invariant I33: a claim takes as many rows as it asks for, also where the plan would let it take more."""
    orders = [f"order-{number}" for number in range(9)]
    holds = [world.supplier.desk.hold(order, Ware.PURCHASE, Action.DO) for order in orders]
    async with world.serving(Role.API) as service:
        ids = await take_in(world.services[0], orders)
        async with world.working(concurrency=3):
            for turn in (1, 2, 3):
                await until(partial(_so_many_arrived, holds, 3 * turn))
                assert await watch.ask("SELECT count(*) FROM operations WHERE lease > 0") == 3 * turn
                for hold in holds:
                    if hold.arrived.is_set():
                        hold.released.set()
            assert {(await service.settled(one))["status"] for one in ids} == {"succeeded"}


async def _so_many_arrived(holds: list[Hold], wanted: int) -> bool:
    return sum(hold.arrived.is_set() for hold in holds) == wanted
