"""Everything at once, by chance: workers die and stand still, connections break, operators cancel; the books agree."""

import asyncio
import contextlib
import random
import signal
from collections import Counter
from typing import Any

from app.sandbox.ledger import Deed
from app.sandbox.manners import Ware
from app.wiring import Role
from tests.road.service import Client, Process
from tests.road.watch import TERMINATE, Watch
from tests.road.world import World, saga_toml

CONFIG: dict[str, Any] = {
    "saga": "booking",
    "sagas": saga_toml("booking", "flight", "hotel", attempts=8),
    "lease": "500ms",
    "timeout": "1s",
    # A worker may have a call out for as long as its lease and the timeout last.
    "in_flight": "1500ms",
    # What is tested here are the attempts.
    "agent": "breaker = { failures = 1000 }",
}
MANNERS = (
    "",
    "-flight-refused",
    "-flight-lost",
    "-hotel-lost",
    "-hotel-refused",
    "-hotel-down-bought",
    "-flight-cancel-lost-hotel-refused",
    "-flight-unreturnable-hotel-refused",
    "-hotel-refused-refund-lost",
)
ROUNDS = 8
PAYMENTS_A_ROUND = 4


async def pay_while_workers_fall(world: World, watch: Watch, service: Client, chance: random.Random) -> list[str]:
    """Payments come in while workers come and go; none of these is left in the end. The ids of the operations."""
    ids: list[str] = []
    async with contextlib.AsyncExitStack() as running:

        async def another() -> Process:
            return await running.enter_async_context(world.process(Role.WORKER, **CONFIG))

        workers = [await another() for _ in range(3)]
        for number in range(ROUNDS):
            orders = [f"trip-{number}-{place}{chance.choice(MANNERS)}" for place in range(PAYMENTS_A_ROUND)]
            ids += [await service.pay(order) for order in orders]
            victim = chance.randrange(len(workers))
            match chance.choice(("kill", "kill", "stand still", "break", "cancel")):
                case "kill":
                    await workers[victim].kill()
                    workers[victim] = await another()
                case "stand still":
                    workers[victim].send(signal.SIGSTOP)
                    await asyncio.sleep(chance.uniform(0.1, 1.0))  # with luck, longer than its lease
                    workers[victim].send(signal.SIGCONT)
                case "break":
                    await watch.ask(TERMINATE)
                    await service.recovered()
                case "cancel":
                    for operation in chance.sample(ids, PAYMENTS_A_ROUND):
                        await service.post(f"/operations/{operation}/cancel")
    return ids


async def test_whatever_happens_each_payment_ends_as_the_partners_books_say(world: World, watch: Watch) -> None:
    seed = random.randrange(1 << 32)
    async with world.serving(Role.API, **CONFIG) as service:
        ids = await pay_while_workers_fall(world, watch, service, random.Random(seed))
        async with world.working(**CONFIG):
            ended = await asyncio.gather(*map(service.settled, ids))
        for operation in ended:
            assert books_of(world, operation) in RIGHT[operation["status"]], (seed, operation)
        keys = [visit.key for visit in (*world.supplier.desk.visits, *world.psp.desk.visits)]
        attempts = [attempt for one in ids for attempt in await service.attempts(one)]
        # Invariant I5: nothing was asked for that is not on record from before.
        assert not Counter(keys) - Counter(attempt["idempotency_key"] for attempt in attempts), seed
        numbered = [(attempt["idempotency_key"], attempt["attempt"]) for attempt in attempts]
        assert len(set(numbered)) == len(numbered), seed
        conservation = (await service.get("/stats"))["conservation"]
        assert (conservation["payments"], conservation["under_way"], conservation["difference"]) == (len(ids), 0, 0)


# What the books may say: how often each of flight, hotel and money went there, and how often it came back.
THERE, BOTH_WAYS, NEVER = (1, 0), (1, 1), (0, 0)
RIGHT = {
    "succeeded": {(THERE, THERE, NEVER)},
    "refunded": {
        (NEVER, NEVER, THERE),
        (BOTH_WAYS, NEVER, THERE),
        (BOTH_WAYS, BOTH_WAYS, THERE),
    },
    # The flight that cannot be given back; of a hotel that could, nothing is left.
    "held": {(THERE, NEVER, NEVER), (THERE, BOTH_WAYS, NEVER)},
}


def books_of(world: World, operation: dict[str, Any]) -> tuple[tuple[int, int], ...]:
    """What the partners' ledgers say of an operation."""
    order = operation["order_id"]

    def times(deed: Deed, ware: str) -> int:
        return len(world.supplier.ledger.of(deed, order_id=order, ware=ware))

    wares = [(times(Deed.BOUGHT, ware), times(Deed.CANCELLED, ware)) for ware in (Ware.FLIGHT, Ware.HOTEL)]
    return (*wares, (len(world.psp.ledger.of(Deed.REFUNDED, order_id=order)), 0))
