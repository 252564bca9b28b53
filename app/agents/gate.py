"""Before a call to an agent: is its breaker closed, and is one of its slots free?"""

import asyncio
from collections import deque
from datetime import datetime, timedelta

from app.agents.breaker import CircuitBreaker
from app.clock import Clock
from app.errors import Unavailable

# When to ask again for a slot of an agent that is busy: long against a claim, short against a call.
BUSY_WAIT = timedelta(seconds=1)
# How far apart operations come back that one open breaker puts off: fifty a second are a gentle beginning.
APART = timedelta(milliseconds=20)


class SlotUnavailable(Unavailable):
    """Nothing may be sent to the agent now: its slots are taken, or its breaker is open. Nothing counts.

    Args:
        until: when to ask again. Operations that are put off together had better come back spread out.
    """

    def __init__(self, detail: str, until: datetime) -> None:
        super().__init__(detail)
        self.until = until


class Gate:
    """The breaker and the slots of one agent in this process.

    Args:
        slots: how many calls may be in flight at once.
    """

    def __init__(self, agent: str, slots: int, breaker: CircuitBreaker, clock: Clock) -> None:
        self._agent = agent
        # Unlike a semaphore's, a free slot can be taken without a coroutine. None is free while anybody waits: one that
        # is given back is handed to the first of them, so that nobody who comes later is quicker.
        self._free = slots
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._breaker = breaker
        self._clock = clock
        self._line = timedelta(0)

    def opens_at(self, now: datetime) -> datetime | None:
        """Until when the breaker lets nothing through; None where a call may go out.

        A probe's place is taken by `slot` alone, so that two callers that ask at once do not both get it.
        """
        return self._breaker.shut_until(now)

    def turn_at(self, now: datetime) -> datetime | None:
        """When one that the breaker lets not through had better come back; None where a call may go out.

        Each claim that ends so costs two rows of history. So a thousand do not all come back when the breaker opens,
        nor each second while a probe is out: they form a line as long as the breaker's open time at most. The first
        of it are the probe, and where that goes well the others follow one after the other.
        """
        until = self.opens_at(now)
        if until is None:
            return None
        self._line = (self._line + APART) % max(self._breaker.open_for, APART)
        return until + self._line

    async def slot(self, timeout: float) -> "Slot":
        """Takes one slot, and the probe's place where the breaker is half open, from before the call is on record.

        Args:
            timeout: how many seconds to wait for a slot; 0 takes one only if it is free.

        Raises:
            SlotUnavailable: no slot became free in time, or the breaker lets nothing through.
        """
        self._let_through()
        if self._free:
            self._free -= 1
        else:
            await self._wait(timeout)
        try:
            self._let_through()  # it may have opened while we waited
        except SlotUnavailable:
            self._hand_on()
            raise
        return self._taken()

    def slot_now(self) -> "Slot | None":
        """Takes a slot as `slot` does, if that needs no wait; else None, which puts nobody into the line."""
        if not self._free or not (self._breaker.closed or self.opens_at(self._clock.now()) is None):
            return None
        self._free -= 1
        return self._taken()

    def give_back(self, *, probe: bool) -> None:
        """A slot is free again; `Slot` calls this."""
        if probe:
            self._breaker.probe_ended()
        self._hand_on()

    def answered(self) -> None:
        """The agent has given a clear answer."""
        self._line = timedelta(0)
        self._breaker.answered()

    def failed(self, now: datetime) -> None:
        """A call ended as unavailable or unknown."""
        self._breaker.failed(now)

    def _let_through(self) -> None:
        until = self.turn_at(self._clock.now())
        if until is not None:
            raise SlotUnavailable(f"the breaker of {self._agent} is open", until)

    def _taken(self) -> "Slot":
        return Slot(self, probe=self._breaker.admit())

    def _hand_on(self) -> None:
        """A slot goes to the first who still waits, or is free."""
        while self._waiting:
            first = self._waiting.popleft()
            if not first.done():
                first.set_result(None)
                return
        self._free += 1

    async def _wait(self, timeout: float) -> None:
        handed = asyncio.get_running_loop().create_future()
        self._waiting.append(handed)
        try:
            async with asyncio.timeout(timeout):
                await handed
        except (TimeoutError, asyncio.CancelledError) as error:
            if not handed.cancelled():  # it came in the very moment in which we gave up
                self._hand_on()
            if isinstance(error, asyncio.CancelledError):
                raise
            until = self._clock.now() + BUSY_WAIT
            raise SlotUnavailable(f"no slot of {self._agent} is free", until) from error


class Slot:
    """One call to the agent may be out; a context manager, or given back by `release`, once."""

    __slots__ = ("_gate", "_probe")

    def __init__(self, gate: Gate, *, probe: bool) -> None:
        self._gate = gate
        self._probe = probe

    def __enter__(self) -> None:
        """Nothing more to do: it is held already."""

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Gives it back."""
        self._gate.give_back(probe=self._probe)
