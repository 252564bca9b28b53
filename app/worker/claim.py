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
from app.worker.places import Places

logger = logging.getLogger(__name__)

Work = Callable[[Claimed, Lease, Prepared | None], Awaitable[Operation | None]]

# A claim of so many is made as two. Fewer are one transaction sooner than two.
WORTH_TWO = 100

# How many of the operations that it has put off a process keeps in mind; polling finds the others, a little later.
MOST_EXPECTED = 10_000


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
        self.places = Places(concurrency)
        self._lease = lease
        self._poll_interval = poll_interval
        self._first_bucket = 0
        self._stopping = False
        self._behind = True
        self._due: list[datetime] = []
        self.running: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Claims until it is cancelled; what a claim that is under way then has taken is handed on first."""
        while True:
            try:
                more = await self._claim_to_its_end()
            except DatabaseUnavailable as error:
                logger.warning("claim_unavailable", extra={"error": str(error)})
                more, self._behind = False, True  # nobody knows what has become due meanwhile
            else:
                self._behind = self._behind if more is None else more
            self.places.open(to_new=more is False and not self._behind)
            if more is False:
                await self._wakeup.wait(self._until_next())
            else:
                await self.places.gather()

    async def _claim_to_its_end(self) -> bool | None:
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

    async def claim(self) -> bool | None:
        """Fills the free places, bucket by bucket; whether there may be more that is due. None: there was no room to look.

        The buckets take turns in being first, so that a full one does not starve the others.
        """
        buckets = self._store.buckets
        self._first_bucket = (self._first_bucket + 1) % buckets
        self._forget_until(self._clock.now())
        for offset in range(buckets):
            most = self._most()
            if most <= 0 or self._stopping:
                return None
            if await self._claim_of((self._first_bucket + offset) % buckets, most) == most:
                return True
        return False

    async def _claim_of(self, bucket: int, most: int) -> int:
        """How many of a bucket were taken, each of which is at work when this returns.

        Of many, the halves are claimed side by side: while one is on its way to the disk, the calls of the other are made
        ready.
        """
        first = most // 2 if most >= WORTH_TWO else 0
        parts = [part for part in (most - first, first) if part]
        claims = [self._claim(bucket, part, claimer) for claimer, part in enumerate(parts)]
        claimed = 0
        for found in await asyncio.gather(*claims, return_exceptions=True):
            if isinstance(found, BaseException):
                raise found
            claimed += found
        return claimed

    def _most(self) -> int:
        """How many a claim may take. Where no backlog is known, half the room is left to new operations meanwhile."""
        free = self.places.free
        return free if self._behind else (free + 1) // 2

    async def _claim(self, bucket: int, most: int, claimer: int) -> int:
        counted_from, now = self._clock.monotonic(), self._clock.now()
        wanted = Claim(fresh(), bucket, most, self._worker, now, now + self._lease)
        ahead, taken = Ahead(self._make_ready), 0
        self.places.take(most)
        try:
            for one in await self._store.claim(wanted, ahead.begin, claimer):
                self._start(one, counted_from, ahead.take(one.operation.id))
                taken += 1
        finally:
            ahead.drop_all()
            if most > taken:
                self.places.give_back(most - taken)
        return taken

    async def ready(self) -> None:
        """Waits, a moment at most, until a new operation may start: in a burst one place follows the other."""
        if not (self.places.is_open or self._stopping):
            await self.places.wait_to_enter()

    def start_with(self, operation: Operation, event: Json, payload: bytes) -> "Start | None":
        """Makes the first call of a new operation ready, to be taken by the transaction that stores it. It has a place then.

        None where it has to be claimed: no room, a call that cannot be made ready, or older ones that wait to be claimed,
        before which it must not come.

        Args:
            event: the webhook's JSON.
            payload: its raw body.
        """
        if len(payload) > LARGEST_EVENT:
            return None
        if self._stopping or not self.places.is_open:
            return None
        counted_from, now = self._clock.monotonic(), self._clock.now()
        claimed = taken(operation, self._worker, now, now + self._lease)
        prepared = self._make_ready(claimed, lambda: event)
        if prepared is None:
            return None
        self.places.take()
        return Start(self, prepared, Claimed(claimed, operation.status, payload), counted_from)

    def started(self, start: "Start", *, accepted: bool) -> None:
        """The transaction that was to take a new operation is over; `Start` calls this."""
        if accepted:
            self._start(start.claimed, start.counted_from, start.prepared)
        else:
            start.prepared.slot.release()
            self.places.give_back()

    def _start(self, claimed: Claimed, counted_from: float, prepared: Prepared | None) -> None:
        lease = self._leases.hold(claimed.operation, counted_from)
        task = asyncio.create_task(self._carry_out(claimed, lease, prepared))
        self.running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self.running.discard(task)
        self.places.give_back()

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
