"""What cannot be started as it is stored is claimed, in its turn: no place, no slot, or a call that has to wait."""

import asyncio
import json
from typing import Any

import pytest

from app.saga.model import Action
from app.sandbox.manners import WELL, Turn, Ware
from app.wiring import Role
from tests.road.at_once import WAY, at_rest, serving
from tests.road.service import until
from tests.road.world import PURCHASE, World, saga_toml

DOWN = Turn(503, acts=False, retry_after=0)

FEW: dict[str, dict[str, Any]] = {
    "one place": {"concurrency": 1},
    "one slot": {"agent": "max_concurrency = 1"},
    "one of both": {"concurrency": 1, "agent": "max_concurrency = 1"},
    "two places, one slot": {"concurrency": 2, "agent": "max_concurrency = 1"},
}


@pytest.mark.parametrize("few", FEW)
async def test_where_there_is_not_room_for_all_the_others_wait_and_each_is_bought_once(world: World, few: str) -> None:
    """A first half that is started at once, a second that comes while it is out."""
    async with serving(world, **FEW[few]) as service:
        first = await asyncio.gather(*(service.pay(f"order-{number}") for number in range(10)))
        second = await asyncio.gather(*(service.pay(f"order-{number}") for number in range(10, 20)))
        assert {(await service.settled(one))["status"] for one in [*first, *second]} == {"succeeded"}
        for one in (*first, *second):
            assert await service.outcomes(one) == [("purchase", "do", "done")]
    assert sorted(visit.order_id for visit in world.supplier.desk.visits) == sorted(f"order-{n}" for n in range(20))


async def test_an_open_breaker_starts_nothing_and_one_of_many_new_payments_is_its_probe(
    world: World, claimed: list[str]
) -> None:
    world.supplier.desk.script("order-0", Ware.PURCHASE, Action.DO, (DOWN, WELL))
    sagas = saga_toml("purchase", "purchase", attempts=5)
    breaker = 'breaker = { failures = 1, open = "2s" }'
    async with serving(world, agent=breaker, sagas=sagas) as service:
        down = await service.pay("order-0")
        await service.until_outcomes(down, ["unavailable"])
        ids = [await service.pay(f"order-{number}") for number in range(1, 6)]
        assert len(world.supplier.desk.visits) == 1
        for one in ids:
            assert (await service.settled(one))["status"] == "succeeded"
            assert (await service.outcomes(one)) == [("purchase", "do", "done")]
        assert (await service.settled(down))["status"] == "succeeded"
    assert "order-0" in claimed
    assert set(claimed) >= {f"order-{number}" for number in range(1, 6)}


LOCAL = """
[[sagas.purchase.steps]]
name = "reserve"
do = { local = "tests.road.test_not_started:reserve" }
undo = false
"""
MISSING = PURCHASE.replace('path = "/purchases"', 'path = "/purchases?of={event.data.nobody}"')


async def reserve(call: dict[str, Any], _connection: Any) -> dict[str, Any]:
    """A step in Python that does nothing."""
    return {"order": call["order_id"]}


@pytest.mark.parametrize(
    ("sagas", "status", "visits"),
    [
        (PURCHASE + LOCAL, "succeeded", 1),
        (saga_toml("purchase") + LOCAL, "succeeded", 0),
        (saga_toml("purchase"), "succeeded", 0),
        (MISSING, "refunded", 0),
    ],
    ids=["local second", "local first", "no step", "refused"],
)
async def test_what_cannot_be_made_ready_goes_the_ordinary_way(
    world: World, claimed: list[str], sagas: str, status: str, visits: int
) -> None:
    async with serving(world, sagas=sagas) as service:
        operation = await service.pay("order-1")
        assert (await service.settled(operation))["status"] == status
    assert len(world.supplier.desk.visits) == visits
    assert "order-1" in claimed


async def test_a_large_event_goes_the_ordinary_way(world: World, claimed: list[str]) -> None:
    async with serving(world) as service:
        ids = []
        for name, more in (("small", 0), ("large", 70_000)):
            payment = world.psp.capture(name, 1999)
            event = world.psp.event(payment)
            body = json.dumps({**json.loads(event.body), "more": "x" * more}).encode()
            told = await world.psp.send(event.__class__(event.id, event.payment_id, body, event.url))
            assert told is not None
            ids.append(told.json()["operation_id"])
        for one in ids:
            assert (await service.settled(one))["status"] == "succeeded"
            assert await service.causes(one) == WAY
    assert claimed == ["large"]


async def test_new_payments_do_not_overtake_a_backlog_and_the_backlog_is_worked_off(world: World) -> None:
    """Trap 46: a process that starts up meets what waited, and a stream of what is new."""
    async with world.serving(Role.API) as service:
        old = [await service.pay(f"old-{number:02}") for number in range(40)]
    async with world.serving(concurrency=4, poll_interval="10m") as service:
        new = await asyncio.gather(*(service.pay(f"new-{number:02}") for number in range(20)))
        for one in (*old, *new):
            assert (await service.settled(one))["status"] == "succeeded"
            assert await service.causes(one) == WAY
        await until(lambda: at_rest(world))
    visits = [visit.order_id for visit in world.supplier.desk.visits]
    assert len(visits) == len(set(visits)) == 60
    assert [visit[:3] for visit in visits[:36]] == ["old"] * 36
