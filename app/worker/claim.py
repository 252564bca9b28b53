"""Claims what is due, as much as there are free slots, and gives each operation a task of its own."""

import asyncio
import contextlib
import heapq
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from app.clock import Clock
from app.db.claim import Claim, Claimed
from app.db.store import Store
from app.db.wakeup import Wakeup
from app.errors import DatabaseUnavailable
from app.ids import fresh
from app.saga.model import Json, Operation
from app.saga.retry import taken
from app.worker.ahead import LARGEST_EVENT, Ahead, MakeReady, Prepared
from app.worker.lease import Lease, Leases

logger = logging.getLogger(__name__)

Work = Callable[[Claimed, Lease, Prepared | None], Awaitable[Operation | None]]

# How many of the operations that it has put off a process keeps in mind; polling finds the others, a little later.
MOST_EXPECTED = 10_000

# Seconds that free slots are gathered for while more is due than there is room for: some claims' time, no more.
LONGEST_GATHERING = 0.02


class Claimer:
    """The claim loop of one worker process.

    Args:
        work: carries one claimed operation out, beginning with the call that is prepared, if one is; returns it as it was
            left.
        make_ready: makes a call ready that goes on record with its claim.
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
        make_ready: MakeReady,
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
        self._make_ready = make_ready
        self._worker = worker
        self._concurrency = concurrency
        self._lease = lease
        self._poll_interval = poll_interval
        self._first_bucket = 0
        self._stopping = False
        self._behind = True
        self._starting = 0
        self._wanted = 0
        self._worth = max(1, concurrency // 4)
        self._room = asyncio.Event()
        self._due: list[datetime] = []
        self.running: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Claims until it is cancelled; what a claim that is under way then has taken is handed on first."""
        while True:
            try:
                more = self._behind = await self._claim_to_its_end()
            except DatabaseUnavailable as error:
                logger.warning("claim_unavailable", extra={"error": str(error)})
                more, self._behind = False, True  # nobody knows what has become due meanwhile
            if more:
                await self._until_room()
            else:
                await self._wakeup.wait(self._until_next())

    async def _until_room(self) -> None:
        """Where more is due than there is room for: waits until there is room worth a claim, or a moment has passed.

        A claim for one costs nearly what a claim for many does; taken one by one, as slots become free, a backlog would
        be worked off at half the speed.
        """
        if self._free() >= self._worth:
            return
        self._room.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_GATHERING):
                await self._room.wait()
        while self._free() <= 0 and self.running:
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
            most = self._most()
            if most <= 0 or self._stopping:
                return True
            counted_from = self._clock.monotonic()
            now = self._clock.now()
            bucket = (self._first_bucket + offset) % buckets
            wanted = Claim(fresh(), bucket, most, self._worker, now, now + self._lease)
            claimed = await self._claim(wanted, counted_from)
            if claimed == most:
                return True
        return False

    def _most(self) -> int:
        """How many a claim may take. Where no backlog is known, half the room is left to new operations meanwhile."""
        free = self._free()
        return free if self._behind else (free + 1) // 2

    async def _claim(self, wanted: Claim, counted_from: float) -> int:
        """How many were taken; each is at work when this returns."""
        ahead = Ahead(self._make_ready)
        self._wanted = wanted.most
        try:
            claimed = await self._store.claim(wanted, ahead.begin)
            for one in claimed:
                self._start(one, counted_from, ahead.take(one.operation.id))
        finally:
            self._wanted = 0
            ahead.drop_all()
        return len(claimed)

    def start_with(self, operation: Operation, event: Json, payload: bytes) -> "Start | None":
        """Makes the first call of a new operation ready, to be taken by the transaction that stores it.

        None where it has to be claimed: no room, a call that cannot be made ready, or older ones that wait to be claimed,
        before which it must not come.

        Args:
            event: the webhook's JSON.
            payload: its raw body.
        """
        if len(payload) > LARGEST_EVENT:
            return None
        if self._stopping or self._behind or self._free() <= 0:
            return None
        counted_from, now = self._clock.monotonic(), self._clock.now()
        claimed = taken(operation, self._worker, now, now + self._lease)
        prepared = self._make_ready(claimed, lambda: event)
        if prepared is None:
            return None
        self._starting += 1
        return Start(self, prepared, Claimed(claimed, operation.status, payload), counted_from)

    def started(self, start: "Start", *, accepted: bool) -> None:
        """The transaction that was to take a new operation is over; `Start` calls this."""
        self._starting -= 1
        if accepted:
            self._start(start.claimed, start.counted_from, start.prepared)
        else:
            start.prepared.slot.release()

    def _free(self) -> int:
        return self._concurrency - len(self.running) - self._starting - self._wanted

    def _start(self, claimed: Claimed, counted_from: float, prepared: Prepared | None) -> None:
        lease = self._leases.hold(claimed.operation.id, claimed.operation.lease, counted_from)
        task = asyncio.create_task(self._carry_out(claimed, lease, prepared))
        self.running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self.running.discard(task)
        if self._free() >= self._worth:
            self._room.set()

    async def _carry_out(self, claimed: Claimed, lease: Lease, prepared: Prepared | None) -> None:
        try:
            left = await self._work(claimed, lease, prepared)
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


class Start:
    """The first call of an operation that this process is about to be told of."""

    def __init__(self, claimer: Claimer, prepared: Prepared, claimed: Claimed, counted_from: float) -> None:
        self._claimer = claimer
        self.prepared = prepared
        self.claimed = claimed
        self.counted_from = counted_from
        self.begun = prepared.begun

    def landed(self, *, accepted: bool) -> None:
        """Told once: whether the operation was made by this arrival, so that the call may go out."""
        self._claimer.started(self, accepted=accepted)
