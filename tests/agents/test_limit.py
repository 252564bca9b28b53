"""A call's time has an end, and a cancel from outside is not taken for it."""

import asyncio

import pytest

from app.agents.http import Limit


async def _wait(seconds: float, begun: asyncio.Event) -> None:
    with Limit(asyncio.get_running_loop(), seconds):
        begun.set()
        await asyncio.Event().wait()


async def test_what_takes_longer_ends_as_timed_out_and_the_task_goes_on() -> None:
    with pytest.raises(TimeoutError):
        await _wait(0.001, asyncio.Event())
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_what_ends_in_time_is_left_alone() -> None:
    limit = Limit(asyncio.get_running_loop(), 10)
    with limit:
        await asyncio.sleep(0)
    assert not limit.expired


async def test_a_cancel_from_outside_stays_one() -> None:
    begun = asyncio.Event()
    task = asyncio.create_task(_wait(10, begun))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_a_cancel_that_comes_together_with_the_end_wins() -> None:
    limits: list[Limit] = []

    async def wait() -> None:
        limits.append(Limit(asyncio.get_running_loop(), 10))
        with limits[0]:
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    while not limits:
        await asyncio.sleep(0)
    limits[0]._expire()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert limits[0].expired


async def test_an_error_that_comes_together_with_the_end_is_told_as_it_is() -> None:
    async def reset() -> None:
        with Limit(asyncio.get_running_loop(), 0.001):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise ConnectionError("reset") from None

    with pytest.raises(ConnectionError):
        await reset()


def test_outside_of_a_task_there_is_nothing_to_end() -> None:
    loop = asyncio.new_event_loop()
    try:
        with pytest.raises(RuntimeError, match="outside of a task"):
            Limit(loop, 1)
    finally:
        loop.close()
