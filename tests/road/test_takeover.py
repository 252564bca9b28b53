"""A worker that stands still while another one takes its work over; and what is not sent to an agent that is down."""

import asyncio
import contextlib
import signal
from functools import partial
from typing import Any
from uuid import uuid4

from app.clock import DatabaseClock
from app.db.claim import Claim
from app.db.store import Store
from app.identity import operation_id
from app.saga.model import Action
from app.sandbox.desk import Hold
from app.sandbox.manners import WELL, Turn, Ware
from app.wiring import Role
from tests.road.service import Client, arrived, until
from tests.road.watch import CLAIM, Watch
from tests.road.world import World, bought, saga_toml

CONFIG: dict[str, Any] = {"lease": "1s", "timeout": "20s"}
DOWN = Turn(503, acts=False, retry_after=0)
FIVE_ATTEMPTS = saga_toml("purchase", "purchase", attempts=5)
ONE_ATTEMPT = saga_toml("purchase", "purchase", attempts=1)


async def test_a_worker_that_stood_still_changes_nothing_by_its_old_lease_and_buys_nothing_twice(
    world: World, watch: Watch
) -> None:
    """Trap 21: a worker stands still, its lease ends, another one takes over and finishes; then it wakes up and writes.

    Trap 3: what it brings is not thrown away; it is kept in its attempt.
    """
    async with world.serving(Role.API, **CONFIG) as service:
        async with world.process(Role.WORKER, **CONFIG) as zombie:
            hold = world.supplier.desk.hold("order-1", Ware.PURCHASE, Action.DO, after=True)
            operation = await service.pay("order-1")
            await arrived(hold)
            zombie.send(signal.SIGSTOP)
            async with world.working(**CONFIG):
                hold.released.set()  # the answer goes to a worker that does not read it
                settled = await service.settled(operation)
            zombie.send(signal.SIGCONT)
            await service.until_outcomes(operation, ["done", "done"])
        assert settled["status"] == "succeeded"
        assert await service.show(operation) == settled
        assert (await service.causes(operation)).count("step_done") == 1
        first, second = await service.attempts(operation)
        assert first["worker"] != second["worker"]
        assert first["response"] == second["response"]
        assert first["idempotency_key"] == second["idempotency_key"]
        assert bought(world.supplier.ledger) == [("bought", "purchase", "order-1")]
    assert await watch.ask("SELECT count(*) FROM attempts") == 2


async def test_a_late_answer_that_contradicts_the_end_makes_it_held(world: World) -> None:
    """Trap 3: the money went back since nobody knew of a purchase; then its proof arrives, and is not thrown away."""
    world.supplier._tombstones = False  # what was cancelled before it came is bought all the same
    config = {**CONFIG, "sagas": ONE_ATTEMPT}
    async with world.serving(Role.API, **config) as service:
        async with world.process(Role.WORKER, **config) as zombie:
            hold = world.supplier.desk.hold("order-1", Ware.PURCHASE, Action.DO)
            operation = await service.pay("order-1")
            await arrived(hold)
            zombie.send(signal.SIGSTOP)
            async with world.working(**config):
                settled = await service.settled(operation)
            assert (settled["status"], settled["reason"]) == ("refunded", "attempts_exhausted")
            hold.released.set()
            zombie.send(signal.SIGCONT)
            held = await service.until(operation, lambda one: one["status"] == "held")
        assert held["held_reason"] == "contradicted"
        assert held["steps"][1]["status"] == "done"
        first, *_ = await service.outcomes(operation)
        assert first == ("purchase", "do", "done")
        # A human has it undone: that is what is left to do.
        assert (await service.post(f"/operations/{operation}/retry")).status_code == 200


async def test_a_worker_that_stood_still_in_the_middle_of_a_write_does_not_stop_the_others(
    world: World, watch: Watch
) -> None:
    """Trap 47: a transaction that stays open holds its rows; whoever writes them next, and all behind him, would wait.

    The worker stands still between the statement of its claim and its commit, as one does whose machine is frozen or cut off.
    """
    async with world.serving(Role.API, **CONFIG) as service:
        async with world.process(Role.WORKER, **CONFIG) as frozen:
            await service.settled(await service.pay("order-0"))  # from here on it knows the saga when it claims
            payment = world.psp.capture("order-1", 1999)
            operation = str(operation_id("shop", payment.id))
            async with watch.before_the_call(operation, 1):
                await world.psp.send(world.psp.event(payment))
                await watch.until_blocked(CLAIM)
                frozen.send(signal.SIGSTOP)
            async with world.working(**CONFIG):
                ended = await asyncio.gather(service.settled(operation), service.settled(await service.pay("order-2")))
            frozen.send(signal.SIGCONT)
            # It works again, and what it was about to send under its old lease it does not send.
            assert (await service.settled(await service.pay("order-3")))["status"] == "succeeded"
        assert [one["status"] for one in ended] == ["succeeded", "succeeded"]
        assert await service.outcomes(operation) == [("purchase", "do", "done")]
    assert [visit.order_id for visit in world.supplier.desk.visits].count("order-1") == 1


async def test_a_call_that_takes_longer_than_the_lease_is_left_alone(world: World, watch: Watch) -> None:
    """Trap 23: a lease that ends in the middle of its call; the heartbeat renews it for as long as its worker lives."""
    async with world.serving(**CONFIG) as service, world.working(**CONFIG):
        hold = world.supplier.desk.hold("order-1", Ware.PURCHASE, Action.DO)
        operation = await service.pay("order-1")
        await arrived(hold)
        out = await service.show(operation)

        async def its_lease_would_be_over() -> bool:
            return bool(await watch.ask("SELECT complete_by + '1 s' < clock_timestamp() FROM operations"))

        await until(its_lease_would_be_over)
        assert await service.show(operation) == out
        hold.released.set()
        assert (await service.settled(operation))["status"] == "succeeded"
        assert await service.outcomes(operation) == [("purchase", "do", "done")]


async def test_leases_that_are_over_are_taken_back_once_though_many_look_for_them(
    world: World, watch: Watch, database_url: str
) -> None:
    """Trap 27: two supervisors have read the same list, and the second acts on what the first has settled already."""
    async with world.serving(Role.API) as service, contextlib.AsyncExitStack() as running:
        ids = [await service.pay(f"order-{number}") for number in range(20)]
        clock = DatabaseClock()
        store = Store(database_url, 1, clock)
        claimed = await store.claim(Claim(uuid4(), 0, 100, "dead", clock.now(), clock.now()))
        await store.close()
        assert len(claimed) == 20
        for _ in range(4):
            await running.enter_async_context(world.working())
        assert {(await service.settled(one))["status"] for one in ids} == {"succeeded"}
        causes = [await service.causes(one) for one in ids]
        assert [one.count("lease_expired") for one in causes] == [1] * 20
        # The claim counts; a call does not, since none was on record.
        assert [one["attempt"] for operation in ids for one in await service.attempts(operation)] == [1] * 20
    assert await watch.ask("SELECT min(lease) FROM operations") == 2


async def test_an_agent_that_is_down_is_left_alone_until_it_is_up_again_and_nothing_counts_meanwhile(
    world: World,
) -> None:
    """Trap 29: an outage would use up the attempts of every operation that needs the agent, and turn them all back."""
    breaker = 'breaker = { failures = 3, open = "2s" }'
    orders = [f"order-{number}" for number in range(8)]
    for order in orders:
        world.supplier.desk.script(order, Ware.PURCHASE, Action.DO, (DOWN,))
    async with world.serving(agent=breaker, sagas=FIVE_ATTEMPTS, concurrency=1) as service:
        ids = [await service.pay(order) for order in orders]
        await until(lambda: _all_put_off(service, ids))
        shown = [await service.show(one) for one in ids]
        assert len(world.supplier.desk.visits) == 3
        assert sum(one["failure_count"] for one in shown) == 3
        for order in orders:
            world.supplier.desk.script(order, Ware.PURCHASE, Action.DO, (WELL,))
        ended = [await service.settled(one) for one in ids]
        assert {one["status"] for one in ended} == {"succeeded"}
        outcomes = [outcome for one in ids for _, _, outcome in await service.outcomes(one)]
        assert sorted(map(str, outcomes)) == ["done"] * 8 + ["unavailable"] * 3


async def _all_put_off(service: Client, ids: list[str]) -> bool:
    """Whether each of them was claimed, and none is."""
    shown = [await service.show(one) for one in ids]
    return all(one["revision"] > 1 and one["status"] != "processing" for one in shown)


async def test_never_more_calls_are_out_to_an_agent_than_it_takes(world: World) -> None:
    orders = [f"order-{number}" for number in range(6)]
    async with world.serving(agent="max_concurrency = 2", poll_interval="10s") as service:
        holds = [world.supplier.desk.hold(order, Ware.PURCHASE, Action.DO) for order in orders]
        ids = [await service.pay(order) for order in orders]
        for one in ids:
            await service.until(one, lambda shown: shown["status"] == "processing")
        for wave in (1, 2, 3):
            await until(partial(_so_many_arrived, holds, 2 * wave))
            for hold in holds:
                if hold.arrived.is_set():
                    hold.released.set()
        ended = [await service.settled(one) for one in ids]
        assert {one["status"] for one in ended} == {"succeeded"}
        assert [len(await service.attempts(one)) for one in ids] == [1] * 6


async def _so_many_arrived(holds: list[Hold], most: int) -> bool:
    """Whether so many calls have come; more must not have."""
    came = sum(hold.arrived.is_set() for hold in holds)
    assert came <= most
    return came == most
