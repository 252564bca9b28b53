"""Steps in Python: what they write happens exactly once, with the record of the step, or not at all."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from app.agents import Rejected, Unavailable
from app.wiring import Role
from tests.road import steps
from tests.road.line import Fate, Line
from tests.road.watch import Watch
from tests.road.world import PAYMENT, RETRY, UNDO_RETRY, World, saga_toml

LOCAL = """
[[sagas.purchase.steps]]
name = "{name}"
do = {{ local = "tests.road.steps:{name}", timeout = "{timeout}" }}
undo = {undo}
{retry}
{undo_retry}
"""
RELEASE = '{ local = "tests.road.steps:release" }'


def local_saga(*names: str, timeout: str = "10s", ware: bool = False) -> str:
    """A payment, steps in Python, and perhaps a purchase at the supplier."""
    retry = RETRY.format(attempts=5, first="20ms", longest="100ms")
    locals_ = [
        LOCAL.format(
            name=name,
            timeout=timeout,
            undo=RELEASE if name == "reserve" else "false",
            retry=retry,
            undo_retry=UNDO_RETRY,
        )
        for name in names
    ]
    last = saga_toml("purchase", "purchase").removeprefix(PAYMENT.format(saga="purchase")) if ware else ""
    return PAYMENT.format(saga="purchase") + "".join(locals_) + last


RESERVE = local_saga("reserve")


@pytest.fixture(autouse=True)
async def effects(watch: Watch) -> AsyncIterator[Callable[[], Awaitable[list[tuple[str, str]]]]]:
    """The steps' own table: what was written there, as (order, step)."""
    await watch.connection.execute(steps.TABLE)

    async def written() -> list[tuple[str, str]]:
        return [tuple(row) for row in await watch.connection.fetch("SELECT order_id, step FROM effects ORDER BY begun")]

    yield written
    steps.first_run.clear()


Effects = Callable[[], Awaitable[list[tuple[str, str]]]]


async def test_a_step_in_python_is_recorded_with_its_effect_and_its_result_goes_on(
    world: World, effects: Effects
) -> None:
    async with world.serving(sagas=local_saga("reserve", ware=True)) as service:
        operation = await service.settled(await service.pay("order-1"))
        assert operation["status"] == "succeeded"
        assert operation["steps"][1] == {"name": "reserve", "status": "done", "result": {"ref": "R-order-1"}}
        first = (await service.attempts(operation["id"]))[0]
        assert first["request"] == {"method": "LOCAL", "url": "tests.road.steps:reserve", "body": None}
        assert (first["outcome"], first["response"]["body"]) == ("done", {"ref": "R-order-1"})
    assert await effects() == [("order-1", "reserve")]


async def test_a_step_in_python_is_undone_in_python(world: World, effects: Effects) -> None:
    async with world.serving(sagas=local_saga("reserve", ware=True)) as service:
        operation = await service.settled(await service.pay("order-1-refused"))
        assert (operation["status"], operation["reason"]) == ("refunded", "rejected")
        assert [step["status"] for step in operation["steps"]] == ["undone", "undone", "rejected"]
    assert await effects() == [("order-1-refused", "reserve"), ("order-1-refused", "release R-order-1-refused")]


async def test_a_worker_killed_in_the_middle_of_a_step_leaves_nothing_of_it(
    world: World, watch: Watch, effects: Effects
) -> None:
    """Trap 1, for a step in Python: what it has written is rolled back with the transaction that would record it."""
    config: dict[str, Any] = {"sagas": RESERVE, "lease": "1s"}
    async with world.serving(Role.API, **config) as service:
        async with world.process(Role.WORKER, **config) as worker, watch.holding() as holding:
            await holding.execute("LOCK TABLE effects")
            operation = await service.pay("order-1")
            await watch.until_blocked("LOCK TABLE effects")
            await worker.kill()
        async with world.working(**config):
            ended = await service.settled(operation)
        assert ended["status"] == "succeeded"
        assert [call[2] for call in await service.outcomes(operation)] == ["crashed", "done"]
    assert await effects() == [("order-1", "reserve")]


async def test_a_worker_that_stands_still_in_the_middle_of_a_step_gives_its_order_free(
    world: World, watch: Watch, effects: Effects
) -> None:
    """The order's lock is its session's: as long as that stands open, nobody else could run a step of the order."""
    config: dict[str, Any] = {"sagas": local_saga("reserve", timeout="1s"), "lease": "1s"}
    async with world.serving(Role.API, **config) as service:
        async with world.process(Role.WORKER, **config) as frozen:
            async with watch.holding() as holding:
                await holding.execute("LOCK TABLE effects")
                operation = await service.pay("order-1")
                await watch.until_blocked("LOCK TABLE effects")
                frozen.send(signal.SIGSTOP)
            async with world.working(**config):
                ended = await service.settled(operation)
            frozen.send(signal.SIGCONT)
        assert ended["status"] == "succeeded"
    assert await effects() == [("order-1", "reserve")]


async def test_a_step_that_refuses_is_rolled_back_and_the_payment_refunded(world: World, effects: Effects) -> None:
    async def refuse(_connection: Any) -> None:
        raise Rejected("sold out")

    steps.first_run["order-1"] = refuse
    async with world.serving(sagas=RESERVE) as service:
        operation = await service.settled(await service.pay("order-1"))
        assert (operation["status"], operation["reason"]) == ("refunded", "rejected")
        assert operation["last_error"] == {"kind": "rejected", "status": None, "detail": "sold out"}
    assert await effects() == []


async def busy(_connection: Any) -> None:
    raise Unavailable("not now")


async def broken(_connection: Any) -> None:
    raise ZeroDivisionError


async def hangs(_connection: Any) -> None:
    await asyncio.Event().wait()


async def hangs_in_the_database(connection: Any) -> None:
    await connection.execute("SELECT pg_sleep(60)")


async def swallows(connection: Any) -> None:
    """The transaction is broken by the first error; what goes on in it is for nothing."""
    try:
        await connection.execute("SELECT 1 / 0")
    except asyncpg.DivisionByZeroError:
        return


async def breaks_at_commit(connection: Any) -> None:
    await connection.execute("INSERT INTO once VALUES (1)")


async def loses_its_connection(connection: Any) -> None:
    await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")


@pytest.mark.parametrize(
    "trouble", [busy, broken, hangs, hangs_in_the_database, swallows, breaks_at_commit, loses_its_connection]
)
async def test_whatever_goes_wrong_in_a_step_is_rolled_back_and_tried_again(
    world: World, effects: Effects, trouble: steps.Trouble
) -> None:
    steps.first_run["order-1"] = trouble
    async with world.serving(sagas=local_saga("reserve", timeout="400ms")) as service:
        operation = await service.settled(await service.pay("order-1"))
        assert operation["status"] == "succeeded"
        assert [call[2] for call in await service.outcomes(operation["id"])] == ["unavailable", "done"]
        assert (await service.causes(operation["id"])).count("step_unavailable") == 1
    assert await effects() == [("order-1", "reserve")]


async def test_steps_of_one_order_never_interleave_though_many_workers_run_them(
    world: World, watch: Watch, effects: Effects
) -> None:
    """An order that was paid several times: its steps read and write the same rows of the shop."""

    async def slow(connection: Any) -> None:
        await connection.execute("SELECT pg_sleep(0.05)")

    sagas = local_saga("reserve", "pack")
    steps.first_run["order-1"] = slow
    async with world.serving(sagas=sagas) as service, world.working(sagas=sagas):
        orders = [f"order-{number % 2}" for number in range(16)]
        ids = await asyncio.gather(*map(service.pay, orders))
        ended = await asyncio.gather(*map(service.settled, ids))
        assert {one["status"] for one in ended} == {"succeeded"}
        # What was put off since the order was busy does not count.
        assert {len(await service.attempts(one)) for one in ids} == {2}
    assert len(await effects()) == 32
    overlaps = """
    SELECT count(*) FROM effects AS a JOIN effects AS b
        ON a.order_id = b.order_id AND a.ctid < b.ctid AND a.begun < b.ended AND b.begun < a.ended
    """
    assert await watch.ask(overlaps) == 0


async def test_a_cancel_while_a_step_runs_takes_back_what_the_step_has_written(world: World, effects: Effects) -> None:
    """Trap 44: what the step was decided on may have changed while it ran; its write lands only if it has not."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def waits(_connection: Any) -> None:
        begun.set()
        await go_on.wait()

    steps.first_run["order-1"] = waits
    async with world.serving(sagas=RESERVE) as service:
        operation = await service.pay("order-1")
        async with asyncio.timeout(30):
            await begun.wait()
        assert (await service.post(f"/operations/{operation}/cancel")).status_code == 200
        go_on.set()
        ended = await service.settled(operation)
        assert (ended["status"], ended["reason"]) == ("refunded", "cancelled")
        assert [step["status"] for step in ended["steps"]] == ["undone", "failed"]
    assert await effects() == []


@pytest.mark.parametrize(
    ("fate", "outcomes"), [(Fate.ANSWER_IS_LOST, ["done"]), (Fate.NEVER_ARRIVES, ["unavailable", "done"])]
)
async def test_a_commit_that_broke_on_the_wire_is_looked_for_and_happens_once(
    world: World, line: Line, effects: Effects, caplog: pytest.LogCaptureFixture, fate: Fate, outcomes: list[str]
) -> None:
    """Trap 9: a connection that is lost during the commit; it may be on disk, or not."""

    async def breaks(connection: Any) -> None:
        line.break_at_commit(connection._transport.get_extra_info("sockname")[1], fate)

    steps.first_run["order-1"] = breaks
    async with world.serving(sagas=local_saga("reserve", ware=True), poll_interval="10m") as service:
        operation = await service.settled(await service.pay("order-1"))
        assert operation["status"] == "succeeded"
        assert [call[2] for call in await service.outcomes(operation["id"])] == [*outcomes, "done"]
        assert (await service.causes(operation["id"])).count("step_done") == 2
    assert await effects() == [("order-1", "reserve")]
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
