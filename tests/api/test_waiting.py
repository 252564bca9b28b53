"""Many that wait are one question to the database."""

import asyncio
from collections.abc import Collection
from uuid import UUID

import pytest

from app.api import waiting
from app.api.admission import Room
from app.api.waiting import Seen, Waiting
from app.errors import DatabaseUnavailable
from app.saga.model import Status


class Table:
    """What the database would say, and how often it was asked."""

    def __init__(self, count: int) -> None:
        self.rows: dict[UUID, Seen] = {UUID(int=number): (1, Status.PENDING) for number in range(count)}
        self.asked: list[int] = []
        self.away = False

    async def revisions(self, ids: Collection[UUID]) -> dict[UUID, Seen]:
        if self.away:
            raise DatabaseUnavailable("gone")
        self.asked.append(len(ids))
        return {id_: self.rows[id_] for id_ in ids if id_ in self.rows}


@pytest.fixture
def table() -> Table:
    return Table(50)


@pytest.fixture
def waiters(table: Table, monkeypatch: pytest.MonkeyPatch) -> Waiting:
    monkeypatch.setattr(waiting, "ROUND", 0.001)
    return Waiting(table.revisions, asyncio.Event())


def moved(revision: int, _status: Status) -> bool:
    return revision > 1


async def test_one_statement_a_round_serves_them_all(table: Table, waiters: Waiting) -> None:
    tasks = [asyncio.create_task(waiters.until(id_, moved, 30)) for id_ in table.rows]
    while len(table.asked) < 3:
        await asyncio.sleep(0)
    assert set(table.asked) == {50}
    for id_ in table.rows:
        table.rows[id_] = (2, Status.PROCESSING)
    assert all(await asyncio.wait_for(asyncio.gather(*tasks), 10))


async def test_nobody_is_asked_for_when_nobody_waits(table: Table, waiters: Waiting) -> None:
    assert await waiters.until(UUID(int=1), moved, 0)
    assert waiters._poller is not None
    await asyncio.wait_for(waiters._poller, 10)
    asked = len(table.asked)
    table.rows[UUID(int=1)] = (2, Status.PENDING)
    assert await asyncio.wait_for(waiters.until(UUID(int=1), moved, 30), 10)
    assert len(table.asked) == asked + 1


async def test_what_is_gone_is_waited_for_no_longer(waiters: Waiting) -> None:
    assert await asyncio.wait_for(waiters.until(UUID(int=99), moved, 30), 10)


async def test_all_are_told_that_the_database_is_away(table: Table, waiters: Waiting) -> None:
    tasks = [asyncio.create_task(waiters.until(id_, moved, 30)) for id_ in list(table.rows)[:3]]
    while not table.asked:
        await asyncio.sleep(0)
    table.away = True
    ended = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
    assert [type(error) for error in ended] == [DatabaseUnavailable] * 3
    table.away = False
    table.rows[UUID(int=1)] = (2, Status.PENDING)
    assert await asyncio.wait_for(waiters.until(UUID(int=1), moved, 30), 10)


async def test_who_finds_no_room_does_not_wait(table: Table, waiters: Waiting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "MOST_WAITING", 0)
    assert not await waiters.until(UUID(int=1), moved, 30)
    assert table.asked == []


def test_a_place_gives_back_what_it_held() -> None:
    room = Room(most_requests=2, most_bytes=10)
    with room.place() as place:
        room.take(8)
        place.held = 8
        with pytest.raises(DatabaseUnavailable, match="bytes"):
            room.take(3)
        with room.place(), pytest.raises(DatabaseUnavailable, match="requests"), room.place():
            pass
    room.take(10)
