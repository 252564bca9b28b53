"""Group commit: who shares a flush, who fails alone, and who is answered when."""

import asyncio
import gc
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from app.db.batch import GroupCommit
from app.db.writer import PoisonedBatch, Writer
from app.errors import DatabaseUnavailable


class Flushes:
    """A flush that a test opens and closes, and that remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.begun = asyncio.Event()

    async def __call__(self, _writer: Writer, items: Sequence[str]) -> list[str]:
        self.batches.append(list(items))
        self.begun.set()
        await self.open.wait()
        if "poison" in items:
            raise PoisonedBatch from ValueError("poison")
        return [item.upper() for item in items]


def group(
    flushes: Flushes,
    *,
    key: Callable[[str], object] | None = None,
    most_waiting: int = 100,
    within: float | None = None,
) -> GroupCommit[str, str]:
    writer = Writer("postgresql://nobody@127.0.0.1:1/none")
    return GroupCommit(writer, flushes, most=10, key=key, most_waiting=most_waiting, within=within)


async def test_what_arrives_while_a_batch_is_flushed_is_the_next_batch() -> None:
    flushes = Flushes()
    commit = group(flushes)
    flushes.open.clear()
    first = asyncio.create_task(commit.submit("a"))
    await flushes.begun.wait()
    others = [asyncio.create_task(commit.submit(item)) for item in "bcd"]
    await asyncio.sleep(0)
    flushes.open.set()
    assert await asyncio.gather(first, *others) == ["A", "B", "C", "D"]
    assert flushes.batches == [["a"], ["b", "c", "d"]]


async def test_a_full_batch_leaves_the_rest_to_the_next() -> None:
    flushes = Flushes()
    commit = group(flushes)
    await asyncio.gather(*(commit.submit(str(number)) for number in range(25)))
    assert [len(batch) for batch in flushes.batches] == [10, 10, 5]


async def test_a_caller_that_goes_away_does_not_cancel_the_batch() -> None:
    """Trap 42: the client of one request disconnects in the middle of the commit that carries others."""
    flushes = Flushes()
    commit = group(flushes)
    flushes.open.clear()
    gone = asyncio.create_task(commit.submit("gone"))
    await flushes.begun.wait()
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    stays = asyncio.create_task(commit.submit("stays"))
    flushes.open.set()
    assert await stays == "STAYS"
    assert flushes.batches == [["gone"], ["stays"]]


async def test_one_poisoned_row_fails_alone() -> None:
    """Trap 41: one row of two hundred is refused, and the others are answered by their own outcome."""
    flushes = Flushes()
    commit = group(flushes)
    results = await asyncio.gather(
        *(commit.submit(item) for item in ["a", "b", "poison", "c", "d"]), return_exceptions=True
    )
    assert [result for result in results if isinstance(result, str)] == ["A", "B", "C", "D"]
    assert isinstance(results[2], ValueError)


async def test_two_items_of_one_key_never_share_a_batch_and_keep_their_order() -> None:
    flushes = Flushes()
    commit = group(flushes, key=lambda item: item[0])
    results = await asyncio.gather(*(commit.submit(item) for item in ["a1", "a2", "b1", "a3"]))
    assert results == ["A1", "A2", "B1", "A3"]
    assert flushes.batches == [["a1", "b1"], ["a2"], ["a3"]]


async def test_too_much_waiting_is_refused_before_memory_grows() -> None:
    flushes = Flushes()
    commit = group(flushes, most_waiting=2)
    flushes.open.clear()
    first = asyncio.create_task(commit.submit("a"))
    await flushes.begun.wait()
    waiting = [asyncio.create_task(commit.submit(item)) for item in "bc"]
    await asyncio.sleep(0)
    with pytest.raises(DatabaseUnavailable):
        await commit.submit("d")
    flushes.open.set()
    assert await asyncio.gather(first, *waiting) == ["A", "B", "C"]


async def test_a_database_that_is_away_is_told_to_each_caller() -> None:
    async def away(_writer: Writer, _items: Sequence[str]) -> list[str]:
        raise DatabaseUnavailable("away")

    commit = GroupCommit(Writer("postgresql://nobody@127.0.0.1:1/none"), away, most=10)
    results = await asyncio.gather(*(commit.submit(item) for item in "abc"), return_exceptions=True)
    assert all(isinstance(result, DatabaseUnavailable) for result in results)


async def test_a_server_that_is_not_there_is_unavailable_after_the_time_for_resending() -> None:
    writer = Writer("postgresql://nobody@127.0.0.1:1/none", resend_for=0.05)

    async def work(_connection: object, _resent: bool) -> None:
        raise AssertionError("there is no connection")

    with pytest.raises(DatabaseUnavailable):
        await writer.transaction(work)


async def test_a_caller_is_told_in_time_and_his_item_is_written_all_the_same() -> None:
    """A sender of webhooks is to hear 503 before he gives up, also where the database hangs."""
    flushes = Flushes()
    commit = group(flushes, within=0.02)
    flushes.open.clear()
    with pytest.raises(DatabaseUnavailable, match="in time"):
        await commit.submit("a")
    flushes.open.set()
    assert await commit.submit("b") == "B"
    assert flushes.batches == [["a"], ["b"]]
    await commit.close()


async def test_each_is_told_after_his_own_time_and_those_who_were_answered_are_not() -> None:
    flushes = Flushes()
    commit = group(flushes, within=0.2)
    loop = asyncio.get_running_loop()
    answered = commit.put("answered")
    assert await answered == "ANSWERED"
    flushes.open.clear()
    first, began = commit.put("first"), loop.time()
    while loop.time() < began + 0.05:
        await asyncio.sleep(0)
    second, came = commit.put("second"), loop.time()
    with pytest.raises(DatabaseUnavailable):
        await first
    assert began + 0.2 <= loop.time()
    assert not second.done()
    with pytest.raises(DatabaseUnavailable):
        await second
    assert came + 0.2 <= loop.time()
    assert commit._timer is None
    third = commit.put("third")  # the timer is set anew
    with pytest.raises(DatabaseUnavailable):
        await third
    flushes.open.set()
    await commit.close()


async def test_one_timer_is_there_for_all_and_none_after_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    timers: list[asyncio.TimerHandle] = []
    loop = asyncio.get_running_loop()
    call_at = loop.call_at

    def noted(when: float, *how: Any, **more: Any) -> asyncio.TimerHandle:
        timers.append(call_at(when, *how, **more))
        return timers[-1]

    monkeypatch.setattr(loop, "call_at", noted)
    commit = group(Flushes(), within=60)
    assert len(await asyncio.gather(*(commit.submit(str(number)) for number in range(100)))) == 100
    assert len(timers) == 1
    await commit.close()
    assert timers[0].cancelled()


async def test_one_who_has_gone_away_is_told_nothing_and_those_behind_him_are() -> None:
    flushes = Flushes()
    commit = group(flushes, within=0.02)
    flushes.open.clear()
    gone, stays = commit.put("gone"), commit.put("stays")
    gone.cancel()
    with pytest.raises(DatabaseUnavailable, match="in time"):
        await stays
    assert gone.cancelled()
    flushes.open.set()
    await commit.close()
    assert flushes.batches == [["gone", "stays"]]


async def test_nobody_complains_of_what_one_who_has_gone_was_to_be_told() -> None:
    told: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(context))
    flushes = Flushes()
    commit = group(flushes, within=0.02)
    flushes.open.clear()
    commit.put("gone")
    with pytest.raises(DatabaseUnavailable):
        await commit.submit("stays")
    flushes.open.set()
    await commit.close()
    gc.collect()
    assert told == []
