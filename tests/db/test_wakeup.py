"""The wake-up: a hint between processes, which may be lost and never costs a write anything."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import pytest

from app.db import wakeup as wakeups
from app.db.engine import connect
from app.db.wakeup import CHANNEL, Wakeup

LONG = 10.0  # seconds; a bound that a test that passes comes nowhere near
Start = Callable[[], Awaitable[Wakeup]]


@pytest.fixture
async def started(database_url: str) -> AsyncIterator[Start]:
    """Makes wake-ups that listen already, each as one process has it."""
    async with AsyncExitStack() as stack:

        async def start() -> Wakeup:
            wakeup = Wakeup(database_url)
            wakeup.start()
            stack.push_async_callback(wakeup.stop)
            await asyncio.wait_for(wakeup.listening.wait(), LONG)
            await asyncio.wait_for(wakeup.wait(LONG), LONG)  # for what it may have missed before
            return wakeup

        yield start


async def woken(wakeup: Wakeup, within: float = LONG) -> bool:
    """Whether a waiter is woken before its time is over."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await wakeup.wait(within)
    return loop.time() - begun < within


async def test_processes_on_one_database_wake_each_other(started: Start) -> None:
    one, other = await started(), await started()
    one.signal()
    assert await woken(other)
    assert await woken(one)
    other.signal()
    assert await woken(one)


async def test_a_process_is_not_woken_again_by_its_own_notice(started: Start) -> None:
    one, other = await started(), await started()
    one.signal()
    assert await woken(one)
    assert await woken(other)
    assert not await woken(one, 0.05)


async def test_poking_wakes_this_process_alone(started: Start) -> None:
    one, other = await started(), await started()
    one.poke()
    assert await woken(one)
    assert not await woken(other, 0.05)


async def test_many_signals_become_few_notices(started: Start, database_url: str) -> None:
    """Each commit with a NOTIFY takes a lock on the whole database, so a signal for each payment would slow them all."""
    one = await started()
    heard: list[int] = []
    enough = asyncio.Event()
    listener = await connect(database_url)

    def hear(_connection: object, pid: int, _channel: str, _payload: object) -> None:
        heard.append(pid)
        enough.set()

    await listener.add_listener(CHANNEL, hear)
    for _ in range(1000):
        one.signal()
    await asyncio.wait_for(enough.wait(), LONG)
    for _ in range(10):
        one.signal()
        await listener.execute("SELECT 1")
    await listener.close()
    assert 1 <= len(heard) <= 5


async def test_a_listener_whose_connection_is_killed_listens_again(started: Start, database_url: str) -> None:
    one, other = await started(), await started()
    killer = await asyncpg.connect(database_url)
    killed = await killer.fetchval(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await killer.close()
    assert killed == 2
    assert await woken(one)  # connected again, it looks at once for what it has not heard
    assert await woken(other)
    one.signal()
    assert await woken(other)


async def test_without_a_database_a_process_still_wakes_itself_and_its_waits_end() -> None:
    alone = Wakeup("postgresql://makegood@127.0.0.1:1/makegood")
    alone.start()
    alone.signal()
    assert await woken(alone)
    await asyncio.wait_for(alone.wait(0.01), LONG)
    assert not alone.listening.is_set()
    await alone.stop()


async def test_a_signal_before_the_wait_is_not_lost(started: Start) -> None:
    one = await started()
    one.signal()
    one.signal()
    assert await woken(one)
    assert not await woken(one, 0.05)


async def test_a_silent_connection_is_tried_now_and_then(
    started: Start, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A firewall drops an idle connection without a word: only a statement finds out."""
    monkeypatch.setattr(wakeups, "KEEPALIVE", 0.01)
    await started()
    watcher: asyncpg.Connection[Any] = await asyncpg.connect(database_url)
    async with asyncio.timeout(LONG):
        while "SELECT 1" not in (seen := await queries(watcher)):
            await asyncio.sleep(0.01)
    await watcher.close()
    assert "SELECT 1" in seen


async def queries(watcher: "asyncpg.Connection[Any]") -> set[str]:
    rows = await watcher.fetch("SELECT query FROM pg_stat_activity WHERE datname = current_database()")
    return {row["query"] for row in rows}


async def test_a_failure_that_is_none_of_the_connection_does_not_end_it(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever never listens again after one error is woken by polling alone for the rest of his life."""
    monkeypatch.setattr(wakeups, "LONGEST_BACKOFF", 0.01)
    serve, failures = Wakeup._serve, [ValueError("a mistake")]

    async def fails_once(wakeup: Wakeup, connection: "asyncpg.Connection[Any]") -> None:
        if failures:
            raise failures.pop()
        await serve(wakeup, connection)

    monkeypatch.setattr(Wakeup, "_serve", fails_once)
    wakeup = Wakeup(database_url)
    wakeup.start()
    await asyncio.wait_for(wakeup.listening.wait(), LONG)
    await wakeup.stop()
    assert failures == []
