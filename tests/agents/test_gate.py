"""The gate: so many calls at once, none while the breaker is open, one while it is half open."""

import asyncio
from datetime import timedelta

import pytest

from app.agents.breaker import PROBE_WAIT, CircuitBreaker
from app.agents.gate import APART, BUSY_WAIT, Gate, SlotUnavailable
from tests.builders import NOW, FixedClock

OPEN = timedelta(seconds=30)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


def gate_of(clock: FixedClock, slots: int = 2, failures: int = 1) -> Gate:
    return Gate("supplier", slots, CircuitBreaker(failures, OPEN), clock)


async def test_no_more_calls_than_slots_are_in_flight(clock: FixedClock) -> None:
    gate, in_flight, most = gate_of(clock, slots=3), 0, 0

    async def call() -> None:
        nonlocal in_flight, most
        with await gate.slot(10):
            in_flight += 1
            most = max(most, in_flight)
            await asyncio.sleep(0)
            in_flight -= 1

    await asyncio.gather(*(call() for _ in range(50)))
    assert most == 3


async def test_a_slot_that_is_not_free_in_time_is_unavailable_and_nothing_is_lost(clock: FixedClock) -> None:
    gate = gate_of(clock, slots=1)
    with await gate.slot(0), pytest.raises(SlotUnavailable, match="no slot of supplier") as refused:
        await gate.slot(0.01)
    assert refused.value.until == NOW + BUSY_WAIT
    with await gate.slot(0):
        assert gate.opens_at(NOW) is None


async def test_a_call_that_is_cancelled_or_fails_gives_its_slot_back(clock: FixedClock) -> None:
    gate = gate_of(clock, slots=1)
    for error in (asyncio.CancelledError, ValueError):
        with pytest.raises(error), await gate.slot(0):
            raise error
    with await gate.slot(0):
        assert gate.opens_at(NOW) is None


async def test_one_who_waits_and_is_cancelled_takes_no_slot_along(clock: FixedClock) -> None:
    gate = gate_of(clock, slots=1)
    with await gate.slot(0):
        waiting = [asyncio.create_task(_take(gate)) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
    assert await asyncio.gather(*waiting, return_exceptions=True) != []
    assert [task.cancelled() for task in waiting] == [True, False, False]
    with await gate.slot(0):
        assert gate.opens_at(NOW) is None


async def _take(gate: Gate) -> None:
    with await gate.slot(10):
        await asyncio.sleep(0)


async def test_nothing_goes_through_while_the_breaker_is_open(clock: FixedClock) -> None:
    gate = gate_of(clock)
    gate.failed(clock.now())
    assert gate.opens_at(clock.now()) == NOW + OPEN
    with pytest.raises(SlotUnavailable, match="breaker") as refused, await gate.slot(0):
        pytest.fail("the breaker is open")
    assert refused.value.until == NOW + OPEN + APART


async def test_a_thousand_that_an_open_breaker_puts_off_come_back_in_a_line_and_not_at_once(clock: FixedClock) -> None:
    """Trap 30: after an outage all come back in one moment, and again each second while the probe is out."""
    gate = gate_of(clock)
    gate.failed(clock.now())
    turns = [gate.turn_at(clock.now()) for _ in range(1000)]
    assert turns == [NOW + OPEN + APART * place for place in range(1, 1001)]
    clock.advance(OPEN)
    with await gate.slot(0):
        again = [turn for _ in range(1000) if (turn := gate.turn_at(clock.now()))]
        assert max(again) < clock.now() + PROBE_WAIT + OPEN
        assert len(set(again)) == 1000
        gate.answered()
    assert gate.turn_at(clock.now()) is None
    gate.failed(clock.now())
    assert gate.turn_at(clock.now()) == clock.now() + OPEN + APART


async def test_of_many_that_wait_for_the_half_open_breaker_one_goes_through(clock: FixedClock) -> None:
    """Trap 29: after an outage the agent is not to be met by everyone at once."""
    gate = gate_of(clock, slots=64)
    gate.failed(clock.now())
    clock.advance(OPEN)
    through, answered = 0, asyncio.Event()

    async def call() -> None:
        nonlocal through
        with await gate.slot(1):
            through += 1
            await answered.wait()
            gate.answered()

    calls = [asyncio.create_task(call()) for _ in range(20)]
    others = await asyncio.gather(*calls[1:], return_exceptions=True)
    assert all(isinstance(other, SlotUnavailable) for other in others)
    answered.set()
    await calls[0]
    assert through == 1
    assert gate.opens_at(clock.now()) is None


async def test_a_probe_that_was_never_sent_leaves_its_place_to_another(clock: FixedClock) -> None:
    gate = gate_of(clock)
    gate.failed(clock.now())
    clock.advance(OPEN)
    with pytest.raises(asyncio.CancelledError), await gate.slot(0):
        raise asyncio.CancelledError
    with await gate.slot(0):
        gate.answered()
    assert gate.opens_at(clock.now()) is None


async def test_one_who_waited_for_a_slot_while_the_breaker_opened_does_not_go_through(clock: FixedClock) -> None:
    gate = gate_of(clock, slots=1)
    with await gate.slot(0):
        waiting = asyncio.create_task(_take(gate))
        await asyncio.sleep(0)
        gate.failed(clock.now())
    with pytest.raises(SlotUnavailable, match="breaker"):
        await waiting
