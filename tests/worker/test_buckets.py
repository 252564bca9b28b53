"""The whole road on a database of several buckets, as a distributed one has."""

import asyncio
from pathlib import Path

import asyncpg

from app.db import schema
from app.wiring import Role
from tests.queued import strays
from tests.road.world import World, bought, world_of

# Payments of each fate. Their ids are made anew each time: of 24 payments none was in one of the four buckets once in 250
# runs, of 48 once in 250,000.
EACH = 16


async def test_payments_of_all_buckets_go_their_way_and_lie_together_with_what_belongs_to_them(
    bare_database_url: str, tmp_path: Path
) -> None:
    await schema.upgrade(bare_database_url, buckets=4)
    async with world_of(tmp_path, bare_database_url) as world:
        orders = [f"order-{number}{fate}" for number in range(EACH) for fate in ("", "-refused", "-lost")]
        async with world.serving(Role.ALL) as service, world.working():
            ids = await asyncio.gather(*(service.pay(order) for order in orders))
            ends = await asyncio.gather(*(service.settled(id_) for id_ in ids))
            assert [end["status"] for end in ends] == ["succeeded", "refunded", "succeeded"] * EACH
            assert sorted(bought(world.supplier.ledger)) == sorted(
                ("bought", "purchase", order) for order in orders if not order.endswith("refused")
            )
            assert {len(await service.attempts(id_)) for id_ in ids[:3]} == {1, 2}
            stats = await service.get("/stats")
            assert stats["conservation"] == {
                "payments": 3 * EACH,
                "succeeded": 2 * EACH,
                "refunded": EACH,
                "held": 0,
                "under_way": 0,
                "difference": 0,
            }
            await told_again(world)
    connection = await asyncpg.connect(bare_database_url)
    for table in ("history", "attempts", "events"):
        astray = f"SELECT count(*) FROM {table} AS t JOIN operations AS o ON o.serial = t.operation_serial WHERE o.bucket <> t.bucket"
        assert await connection.fetchval(astray) == 0
    assert await strays(connection) == 0
    assert await connection.fetchval("SELECT count(DISTINCT bucket) FROM operations") == 4
    await connection.close()


async def told_again(world: World) -> None:
    """Second events of all payments: none makes a second operation, in whichever bucket the first one is."""
    payments = [entry for entry in world.psp.ledger.entries if entry.deed == "captured"]
    again = await asyncio.gather(*(world.psp.send(world.psp.event(payment)) for payment in payments))
    assert [answer.json()["status"] for answer in again if answer is not None] == ["duplicate"] * 3 * EACH
