"""Claims what is due, as much as there are free slots, and gives each operation a task of its own."""

import asyncio
import contextlib
import heapq
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from uuid import uuid4

from app.clock import Clock
from app.db.operations import Claim, Claimed
from app.db.store import Store
from app.db.wakeup import Wakeup
from app.errors import DatabaseUnavailable
from app.saga.model import Operation
from app.worker.lease import Lease, Leases

logger = logging.getLogger(__name__)

Work = Callable[[Claimed, Lease], Awaitable[Operation | None]]

# How many of the operations that it has put off a process keeps in mind; polling finds the others, a little later.
MOST_EXPECTED = 10_000


class Claimer:
    """The claim loop of one worker process.

    Args:
        work: carries one claimed operation out; returns it as it was left.
        concurrency: operations in flight in this process.
        lease: how long a claim holds without a heartbeat.
        poll_interval: the fallback when no wake-up arrives.
    """

    def __init__(
        self,
        store: Store,
        leases: Leases,
        clock: Clock,
        wakeup: Wakeup,
        work: Work,
        *,
        worker: str,
        concurrency: int,
        lease: timedelta,
        poll_interval: timedelta,
    ) -> None:
        self._store = store
        self._leases = leases
        self._clock = clock
        self._wakeup = wakeup
        self._work = work
        self._worker = worker
        self._concurrency = concurrency
        self._lease = lease
        self._poll_interval = poll_interval
        self._first_bucket = 0
        self._stopping = False
        self._due: list[datetime] = []
        self.running: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Claims until it is cancelled; what a claim that is under way then has taken is handed on first."""
        while True:
            try:
                more = await self._claim_to_its_end()
            except DatabaseUnavailable as error:
                logger.warning("claim_unavailable", extra={"error": str(error)})
                more = False
            if not more:
                await self._wakeup.wait(self._until_next())
            elif len(self.running) >= self._concurrency:
                await asyncio.wait(self.running, return_when=asyncio.FIRST_COMPLETED)

    async def _claim_to_its_end(self) -> bool:
        """Claims; a claim that were cancelled could have taken what would then lie under its lease, and count as failed."""
        claiming = asyncio.create_task(self.claim())
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            self._stopping = True
            while not claiming.done():
                with contextlib.suppress(asyncio.CancelledError):  # once more, while it ends
                    await asyncio.wait({claiming})
            raise

    async def claim(self) -> bool:
        """Fills the free slots, bucket by bucket; whether there may be more that is due.

        The buckets take turns in being first, so that a full one does not starve the others.
        """
        buckets = self._store.buckets
        self._first_bucket = (self._first_bucket + 1) % buckets
        self._forget_until(self._clock.now())
        for offset in range(buckets):
            free = self._concurrency - len(self.running)
            if free <= 0 or self._stopping:
                return True
            counted_from = self._clock.monotonic()
            now = self._clock.now()
            bucket = (self._first_bucket + offset) % buckets
            wanted = Claim(uuid4(), bucket, free, self._worker, now, now + self._lease)
            claimed = await self._store.claim(wanted)
            for one in claimed:
                self._start(one, counted_from)
            if len(claimed) == free:
                return True
        return False

    def _start(self, claimed: Claimed, counted_from: float) -> None:
        lease = self._leases.hold(claimed.operation.id, claimed.operation.lease, counted_from)
        task = asyncio.create_task(self._carry_out(claimed, lease))
        self.running.add(task)
        task.add_done_callback(self.running.discard)

    async def _carry_out(self, claimed: Claimed, lease: Lease) -> None:
        try:
            left = await self._work(claimed, lease)
        except Exception:
            # The lease runs out, which counts the claim: an operation that breaks us each time ends as held.
            logger.exception("execute_failed", extra={"operation_id": claimed.operation.id})
            return
        finally:
            self._leases.release(lease)
        if left is not None and left.next_run_at is not None:
            self._expect(left.next_run_at)

    def _expect(self, due_at: datetime) -> None:
        """What this process has put off it looks for again at the right moment, sooner than by polling."""
        if due_at <= self._clock.now():
            self._wakeup.poke()
        elif len(self._due) < MOST_EXPECTED:
            heapq.heappush(self._due, due_at)
            if self._due[0] == due_at:  # sooner than what is waited for
                self._wakeup.poke()

    def _forget_until(self, now: datetime) -> None:
        """What is due by now is found by the claim that begins now."""
        while self._due and self._due[0] <= now:
            heapq.heappop(self._due)

    def _until_next(self) -> float:
        """Seconds until the next look: until the soonest that was put off is due, at most the poll interval."""
        wait = self._poll_interval.total_seconds()
        if not self._due:
            return wait
        return min(wait, max(0.0, (self._due[0] - self._clock.now()).total_seconds()))
