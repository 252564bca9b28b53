"""A service that starts what it is told of as it stores it, and what a test sees of that."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from tests.road.service import Client, until
from tests.road.world import World

CONFIG: dict[str, Any] = {"lease": "1s", "timeout": "20s"}
WAY = ["payment_received", "claimed", "step_done"]


@contextlib.asynccontextmanager
async def serving(world: World, **how: Any) -> AsyncIterator[Client]:
    """A service of this process that starts what it is told of; in the end each place and each slot is free again."""
    async with world.serving(**how) as service:
        await until(lambda: knows_that_nothing_waits(world))
        yield service
        await until(lambda: at_rest(world))


async def knows_that_nothing_waits(world: World) -> bool:
    """Whether the first claim has come back."""
    runner = world.services[-1].runner
    assert runner is not None
    return runner._claimer.places.is_open


async def at_rest(world: World) -> bool:
    """Whether all places of the claimer and all slots of the agents are free."""
    runner = world.services[-1].runner
    assert runner is not None
    gates = runner._parts.agents._gates
    settings = world.services[-1].context.settings
    places = runner._claimer.places.free == settings.worker.concurrency
    return places and all(gate._free == settings.agents[name].max_concurrency for name, gate in gates.items())
