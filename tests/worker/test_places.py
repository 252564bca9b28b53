"""The places of a worker: who waits for one gets in where they become free at a pace, and nobody waits for long."""

import asyncio

import pytest

from app.worker import places
from app.worker.places import Places
from tests.worker.shift import settle


async def entering(given: Places) -> bool:
    """Waits to enter; whether there is a place then."""
    await given.wait_to_enter()
    return given.is_open


async def full() -> Places:
    """Two places, both taken, of which one has just become free and was taken again."""
    given = Places(2)
    given.open(to_new=True)
    given.take(2)
    given.give_back()
    given.take()
    return given


async def test_who_waits_gets_the_place_that_is_given_back() -> None:
    given = await full()
    waiting = asyncio.create_task(entering(given))
    await settle()
    assert not waiting.done()
    given.give_back()
    assert await waiting


async def test_one_place_lets_one_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "PATIENCE", 60.0)
    given = await full()
    waiting = [asyncio.create_task(entering(given)) for _ in range(3)]
    await settle()
    given.give_back()
    await settle()
    assert [one.done() for one in waiting] == [True, False, False]
    given.take()
    given.give_back(2)
    await asyncio.gather(*waiting)
    assert given.free == 2


async def test_nobody_waits_longer_than_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "PATIENCE", 0.0)
    given = await full()
    assert not await entering(given)
    assert given.free == 0


async def test_who_has_given_up_does_not_stay_in_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a backlog is worked off the door is closed for hours, and each webhook waits in vain."""
    monkeypatch.setattr(places, "PATIENCE", 0.0)
    given = await full()
    given.open(to_new=False)
    for _ in range(5):
        assert not await entering(given)
    assert len(given._line) == 1


async def test_where_no_place_has_become_free_lately_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls that take seconds: the sender would hear later for nothing."""
    monkeypatch.setattr(places, "PATIENCE", 60.0)
    monkeypatch.setattr(places, "PACE", 0.0)
    given = await full()
    await asyncio.wait_for(given.wait_to_enter(), 5)
    assert given.free == 0


async def test_while_older_ones_wait_to_be_claimed_no_new_one_gets_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "PATIENCE", 60.0)
    given = await full()
    given.open(to_new=False)
    waiting = asyncio.create_task(entering(given))
    given.give_back()
    await settle()
    assert not waiting.done()
    given.open(to_new=True)
    assert await waiting


async def test_one_who_has_gone_away_keeps_nobody_from_entering(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "PATIENCE", 60.0)
    given = await full()
    gone, waiting = asyncio.create_task(entering(given)), asyncio.create_task(entering(given))
    await settle()
    gone.cancel()
    await asyncio.wait({gone})
    given.give_back()
    assert await waiting


async def test_places_are_gathered_until_they_are_worth_a_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "LONGEST_GATHERING", 60.0)
    given = Places(16)
    given.take(16)
    gathering = asyncio.create_task(given.gather())
    for _ in range(3):
        await settle()
        given.give_back()
    await settle()
    assert not gathering.done()
    given.give_back()
    await gathering


async def test_one_place_is_enough_after_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "LONGEST_GATHERING", 0.0)
    given = Places(16)
    given.take(16)
    gathering = asyncio.create_task(given.gather())
    await settle()
    assert not gathering.done()
    given.give_back()
    await gathering
    assert given.free == 1
