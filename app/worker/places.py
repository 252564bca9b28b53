"""The places of one worker process: how many operations may be at work in it at once, and who waits for one."""

import asyncio
import contextlib
from collections import deque

# Seconds that free places are gathered for while more is due than there is room for: some claims' time, no more.
LONGEST_GATHERING = 0.02
# Seconds that a new operation waits for a place, at most: what it then saves is its claim, a third of all that it costs
# here. Its sender hears that much later that it is stored.
PATIENCE = 0.05
# Seconds: where none has become free for so long, nobody waits for one.
PACE = 0.02


class Places:
    """Counts the places of a process.

    Args:
        count: operations at work at once.

    Attributes:
        free: places that nobody has.
    """

    def __init__(self, count: int) -> None:
        self.free = count
        self._worth = max(1, count // 4)
        self._given = asyncio.Event()
        self._line: deque[asyncio.Future[None]] = deque()
        self._last_given = 0.0
        self._open = False

    @property
    def is_open(self) -> bool:
        """Whether a new operation may take a place now: one is free, and nothing older is known to wait for it."""
        return self._open and self.free > 0

    def take(self, count: int = 1) -> None:
        """Takes places that are free."""
        self.free -= count

    def give_back(self, count: int = 1) -> None:
        """Gives places back that were taken."""
        self.free += count
        self._last_given = asyncio.get_running_loop().time()
        self._given.set()
        self._let_in()

    def open(self, *, to_new: bool) -> None:
        """Says whether new operations may take places: not while older ones wait to be claimed."""
        self._open = to_new
        self._let_in()

    async def wait_to_enter(self) -> None:
        """Waits until a new operation may take a place, a moment at most; whoever comes back looks again."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if now - self._last_given > PACE:
            return  # none becomes free soon
        while self._line and self._line[0].done():
            self._line.popleft()  # who has given up; while the door is closed nobody else takes him out
        waiter: asyncio.Future[None] = loop.create_future()
        self._line.append(waiter)
        timer = loop.call_at(now + PATIENCE, _let_go, waiter)
        try:
            await waiter
        finally:
            timer.cancel()

    async def gather(self) -> None:
        """Waits until there is room worth a claim, or some room after a moment.

        A claim for one costs nearly what a claim for many does; taken one by one, as places become free, a backlog would
        be worked off at half the speed.
        """
        while self.free <= 0:
            await self._one_given_back()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_GATHERING):
                while self.free < self._worth:
                    await self._one_given_back()

    async def _one_given_back(self) -> None:
        self._given.clear()
        await self._given.wait()

    def _let_in(self) -> None:
        free = self.free if self._open else 0
        while free > 0 and self._line:
            waiter = self._line.popleft()
            if not waiter.done():
                waiter.set_result(None)
                free -= 1


def _let_go(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
