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


async def test_a_slot_that_is_given_back_goes_to_who_waited_first_and_nobody_is_quicker(clock: FixedClock) -> None:
    """A new payment's call would else come before those of older ones, each time anew."""
    gate, order = gate_of(clock, slots=1), []

    async def call(name: str) -> None:
        with await gate.slot(10):
            order.append(name)
            await asyncio.sleep(0)

    slot = await gate.slot(0)
    waiting = [asyncio.create_task(call(name)) for name in ("first", "second")]
    await asyncio.sleep(0)
    slot.release()
    assert gate.slot_now() is None
    late = asyncio.create_task(call("late"))
    await asyncio.gather(*waiting, late)
    assert order == ["first", "second", "late"]
    assert free_slots(gate) == 1


async def test_a_slot_that_is_handed_to_one_who_is_cancelled_in_that_moment_is_not_lost(clock: FixedClock) -> None:
    gate = gate_of(clock, slots=1)
    slot = await gate.slot(0)
    first, second = (asyncio.create_task(gate.slot(10)) for _ in range(2))
    await asyncio.sleep(0)
    slot.release()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    (await second).release()
    assert free_slots(gate) == 1


async def test_who_gave_up_leaves_his_place_to_the_next(clock: FixedClock) -> None:
    gate = gate_of(clock, slots=1)
    slot = await gate.slot(0)
    with pytest.raises(SlotUnavailable):
        await gate.slot(0.001)
    waiting = asyncio.create_task(gate.slot(10))
    await asyncio.sleep(0)
    slot.release()
    (await waiting).release()
    assert free_slots(gate) == 1


async def test_one_who_is_refused_by_the_breaker_after_a_wait_hands_his_slot_on(clock: FixedClock) -> None:
    gate = gate_of(clock, slots=1)
    slot = await gate.slot(0)
    waiting = [asyncio.create_task(gate.slot(10)) for _ in range(2)]
    await asyncio.sleep(0)
    gate.failed(clock.now())
    slot.release()
    refused = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(one) for one in refused] == [SlotUnavailable, SlotUnavailable]
    clock.advance(OPEN)
    assert free_slots(gate) == 1


def free_slots(gate: Gate) -> int:
    """How many can be taken at once."""
    taken = []
    while (slot := gate.slot_now()) is not None:
        taken.append(slot)
        gate.answered()
    for slot in taken:
        slot.release()
    return len(taken)


async def test_now_there_is_a_slot_or_none_and_all_can_be_taken_so(clock: FixedClock) -> None:
    gate = gate_of(clock, slots=3)
    slots = [gate.slot_now() for _ in range(5)]
    assert [slot is not None for slot in slots] == [True, True, True, False, False]
    for slot in slots:
        if slot is not None:
            slot.release()
    assert free_slots(gate) == 3


async def test_an_open_breaker_gives_no_slot_now_and_puts_nobody_into_the_line(clock: FixedClock) -> None:
    gate = gate_of(clock)
    gate.failed(clock.now())
    assert [gate.slot_now() for _ in range(10)] == [None] * 10
    assert gate.turn_at(clock.now()) == NOW + OPEN + APART


async def test_what_is_taken_now_while_the_breaker_is_half_open_is_the_probe_and_leaves_its_place(
    clock: FixedClock,
) -> None:
    """Trap 29; and a start whose payment was known already sends nothing: the next one is the probe then."""
    gate = gate_of(clock)
    gate.failed(clock.now())
    clock.advance(OPEN)
    probe = gate.slot_now()
    assert probe is not None
    assert gate.slot_now() is None
    with pytest.raises(SlotUnavailable):
        await gate.slot(0)
    probe.release()
    again = gate.slot_now()
    assert again is not None
    gate.answered()
    again.release()
    assert free_slots(gate) == 2
