"""Whose turn it is to reconcile a source: one process's at a time, when it is due, and anybody's after a lease."""

import asyncio
from datetime import timedelta

import pytest

from app.db.engine import AsyncEngine, connect
from app.db.reconciliations import Result, Turns
from tests.builders import NOW

LEASE = timedelta(minutes=5)
EVERY = timedelta(hours=6)
SOON = timedelta(seconds=1)


@pytest.fixture
def turns(engine: AsyncEngine) -> Turns:
    return Turns(engine, LEASE)


async def test_the_first_turn_is_due_at_once_and_the_next_when_it_was_said(turns: Turns) -> None:
    turn = await turns.take("shop", NOW, EVERY)
    assert turn == 1
    await turns.end("shop", turn, NOW + EVERY, NOW, None)
    assert await turns.take("shop", NOW + EVERY - SOON, EVERY) is None
    assert await turns.take("shop", NOW + EVERY, EVERY) == 2


async def test_of_many_that_ask_at_once_one_has_the_turn(turns: Turns) -> None:
    asked = await asyncio.gather(*(turns.take("shop", NOW, EVERY) for _ in range(8)))
    assert sorted(asked, key=str) == [1, *[None] * 7]
    assert await turns.take("club", NOW, EVERY) == 1  # another source's


async def test_a_turn_that_is_not_held_any_more_is_somebody_elses(turns: Turns) -> None:
    """Its process was killed, or stood still; when it wakes it finds that it has lost it."""
    first = await turns.take("shop", NOW, EVERY)
    assert first is not None
    assert await turns.extend("shop", first, NOW + LEASE - SOON)
    later = NOW + 2 * LEASE - SOON
    assert await turns.take("shop", later, EVERY) is None
    second = await turns.take("shop", later + SOON + SOON, EVERY)
    assert second == 2
    assert not await turns.extend("shop", first, later)
    await turns.end("shop", first, NOW, later, Result(1, 1, 1))  # gives nothing back
    assert await turns.take("shop", later + LEASE, EVERY) is None
    assert await turns.extend("shop", second, later)


async def test_a_schedule_that_was_made_shorter_counts_at_once(turns: Turns) -> None:
    turn = await turns.take("shop", NOW, EVERY)
    assert turn is not None
    await turns.end("shop", turn, NOW + EVERY, NOW, None)
    assert await turns.take("shop", NOW + SOON, timedelta(hours=7)) is None
    assert await turns.take("shop", NOW + SOON, timedelta(hours=1)) == 2


async def test_what_was_counted_stays_when_the_next_one_fails(turns: Turns, database_url: str) -> None:
    turn = await turns.take("shop", NOW, EVERY)
    assert turn is not None
    await turns.end("shop", turn, NOW, NOW + SOON, Result(10, 2, 3))
    turn = await turns.take("shop", NOW + LEASE, EVERY)
    assert turn is not None
    await turns.end("shop", turn, NOW + EVERY, NOW + LEASE, None)
    connection = await connect(database_url)
    row = await connection.fetchrow("SELECT * FROM reconciliations")
    await connection.close()
    assert row is not None
    assert (row["payments"], row["missing"], row["differences"], row["ended_at"]) == (10, 2, 3, NOW + SOON)
    assert (row["lease"], row["leased_until"], row["due_at"]) == (2, None, NOW + EVERY)
