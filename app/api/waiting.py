"""`Prefer: wait`: requests that wait for an operation, all of them served by one poller.

However many wait, one statement a round asks for all their revisions, and no connection is held between the rounds.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from app.saga.model import Status

# Seconds: short for a person who watches, and ten statements a second at most for the database.
ROUND = 0.1
MOST_WAITING = 1_000  # a statement asks for no more ids; who comes then is answered at once, as a preference may be

Seen = tuple[int, Status]
Revisions = Callable[[Collection[UUID]], Awaitable[Mapping[UUID, Seen]]]


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    id: UUID
    met: Callable[[int, Status], bool]
    over: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Waiting:
    """The requests of one process that wait.

    Args:
        revisions: revision and status of operations, in one statement.
        stopping: once it is set nobody waits any more.
    """

    def __init__(self, revisions: Revisions, stopping: asyncio.Event) -> None:
        self._revisions = revisions
        self._stopping = stopping
        self._waiters: set[_Waiter] = set()
        self._poller: asyncio.Task[None] | None = None

    async def until(self, id_: UUID, met: Callable[[int, Status], bool], seconds: float) -> bool:
        """Waits until an operation's revision and status meet a condition, or it is gone, or the time is over.

        Returns:
            Whether it waited at all; too many may be waiting already.

        Raises:
            DatabaseUnavailable: the database went away meanwhile.
        """
        if len(self._waiters) >= MOST_WAITING or self._stopping.is_set():
            return False
        waiter = _Waiter(id_, met)
        self._waiters.add(waiter)
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll())
            # Its error is raised to whoever waits; where all have gone meanwhile, nobody misses it.
            self._poller.add_done_callback(lambda poller: poller.cancelled() or poller.exception())
        poller = self._poller
        try:
            await asyncio.wait({waiter.over, poller}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._waiters.discard(waiter)
        if poller.done() and not waiter.over.done():
            poller.result()
        return True

    async def _poll(self) -> None:
        """Looks until nobody waits any more."""
        while self._waiters and not self._stopping.is_set():
            asked = list(self._waiters)
            seen = await self._revisions({waiter.id for waiter in asked})
            for waiter in asked:
                at = seen.get(waiter.id)
                if (at is None or waiter.met(*at)) and not waiter.over.done():
                    waiter.over.set_result(None)
                    self._waiters.discard(waiter)
            try:
                await asyncio.wait_for(self._stopping.wait(), ROUND)
            except TimeoutError:
                continue
