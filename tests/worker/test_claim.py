"""The claim loop: as much as there is room for, at the right moment, and never stopped by what goes wrong."""

import asyncio
from datetime import timedelta

import pytest

from app.errors import DatabaseUnavailable
from app.worker import claim
from tests.builders import NOW
from tests.worker.shift import Shift, settle
from tests.worker.stage import SaidStore, claimed

SECOND = timedelta(seconds=1)


async def test_what_was_put_off_is_looked_for_at_the_moment_it_is_due() -> None:
    shift = Shift(SaidStore([[claimed("pay_1")]]), again={"pay_1": NOW + 5 * SECOND})
    async with shift.running():
        await shift.wakeup.next_wait()
        assert await shift.wakeup.next_wait() == 5.0


async def test_the_soonest_of_what_was_put_off_is_waited_for_and_then_the_next() -> None:
    again = {"pay_1": NOW + 20 * SECOND, "pay_2": NOW + 5 * SECOND, "pay_3": NOW + 90 * SECOND}
    shift = Shift(SaidStore([[claimed(payment) for payment in again]]), again=again)
    async with shift.running():
        await shift.wakeup.next_wait()
        assert await shift.wakeup.next_wait() == 5.0
        shift.clock.advance(5 * SECOND)
        shift.wakeup.poke()
        assert await shift.wakeup.next_wait() == 15.0
        shift.clock.advance(15 * SECOND)
        shift.wakeup.poke()
        assert await shift.wakeup.next_wait() == 60.0


async def test_what_is_to_go_on_at_once_is_claimed_at_once() -> None:
    shift = Shift(SaidStore([[claimed("pay_1")], [claimed("pay_1", lease=2)]]), again={"pay_1": NOW})
    async with shift.running():
        await settle()
    assert shift.worked[:2] == ["pay_1", "pay_1"]


async def test_no_more_is_claimed_than_there_is_room_for() -> None:
    due = [[claimed(f"pay_{number}") for number in range(3)], [claimed("pay_3")], [claimed("pay_4")]]
    shift = Shift(SaidStore([*due]))
    shift.may_end.clear()
    async with shift.running():
        await settle()
        assert [wanted.most for wanted in shift.store.claims] == [4]
        shift.wakeup.poke()
        await settle()
        assert [wanted.most for wanted in shift.store.claims] == [4, 1]
        shift.may_end.set()
        await settle()
    assert sorted(shift.worked) == [f"pay_{number}" for number in range(5)]


async def test_an_operation_that_breaks_its_worker_stops_no_other() -> None:
    """Trap 28: its lease is let go, and runs out: that is counted. The others are worked on, and more is claimed."""
    shift = Shift(SaidStore([[claimed("pay_1"), claimed("pay_2")], [claimed("pay_3")]]), broken={"pay_1"})
    async with shift.running():
        await settle()
        shift.wakeup.poke()
        await settle()
        await shift.leases.beat()
    assert shift.worked == ["pay_1", "pay_2", "pay_3"]
    assert shift.store.beats == []


async def test_a_claim_that_failed_is_made_again() -> None:
    shift = Shift(SaidStore([DatabaseUnavailable("away"), [claimed("pay_1")]]))
    async with shift.running():
        assert await shift.wakeup.next_wait() == 60.0
        shift.wakeup.poke()
        await settle()
    assert shift.worked == ["pay_1"]


async def test_the_buckets_take_turns_in_being_first() -> None:
    """Trap 46: a bucket that always has more than there is room for does not keep the others waiting for ever."""
    shift = Shift(SaidStore([[claimed("pay_1")], [claimed("pay_2")], [claimed("pay_3")]], buckets=3), concurrency=1)
    async with shift.running():
        await settle()
    assert [wanted.bucket for wanted in shift.store.claims[:3]] == [1, 2, 0]


async def test_what_a_claim_has_taken_when_the_process_is_to_end_is_handed_on() -> None:
    """Trap 8: cancelled in the middle, it would lie under its lease, and count as failed though nobody has tried it."""
    on_its_way, may_arrive = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        on_its_way.set()
        await may_arrive.wait()

    shift = Shift(SaidStore([[claimed("pay_1")]], meanwhile=slow))
    running = asyncio.create_task(shift.claimer.run())
    await on_its_way.wait()
    for _ in range(2):  # asked to end, and once more
        running.cancel()
        await settle()
    may_arrive.set()
    await asyncio.wait({running})
    await settle()
    assert running.cancelled()
    assert shift.worked == ["pay_1"]
    assert len(shift.store.claims) == 1


async def test_what_is_kept_in_mind_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A supplier asks a million operations to wait for a day; polling finds those that are not kept in mind."""
    monkeypatch.setattr(claim, "MOST_EXPECTED", 2)
    again = {f"pay_{number}": NOW + (number + 1) * SECOND for number in range(4)}
    shift = Shift(SaidStore([[claimed(payment) for payment in again]]), again=again)
    async with shift.running():
        await settle()
        shift.clock.advance(10 * SECOND)
        shift.wakeup.poke()
        await settle()
    assert len(shift.claimer._due) == 0
    assert shift.worked == sorted(again)
