"""What this process surely holds, by its own monotonic clock, and the heartbeat that renews it.

A lease is counted from before its claim, or its last heartbeat, was sent: so our own idea of it ends before the
database's does, and no call goes out under a lease that another worker may have taken over.
"""

import asyncio
import logging
from dataclasses import dataclass
from datetime import timedelta

from app.clock import Clock
from app.db.operations import HeldLease
from app.db.store import Store
from app.errors import DatabaseUnavailable
from app.saga.model import Operation

logger = logging.getLogger(__name__)

# Two heartbeats may fail or come late before a lease ends.
HEARTBEATS_A_LEASE = 3


@dataclass(slots=True, eq=False)
class Lease:
    """A claim of ours. `until` is in seconds of our monotonic clock.

    `number` goes on under a claim that makes more than one call.
    """

    operation: Operation
    number: int
    until: float

    def held(self) -> HeldLease:
        """As the database knows it."""
        return HeldLease(self.operation.serial, self.operation.id, self.number)


class Leases:
    """All claims that this process works on."""

    def __init__(self, store: Store, clock: Clock, duration: timedelta) -> None:
        self._store = store
        self._clock = clock
        self._duration = duration
        self._held: set[Lease] = set()

    def hold(self, operation: Operation, counted_from: float) -> Lease:
        """Takes note of a claim. `counted_from`: our monotonic clock before the claim was sent."""
        lease = Lease(operation, operation.lease, counted_from + self._duration.total_seconds())
        self._held.add(lease)
        return lease

    def release(self, lease: Lease) -> None:
        """The work under the lease is over."""
        self._held.discard(lease)

    def surely_holds(self, lease: Lease) -> bool:
        """Whether a call may go out under the lease now."""
        return self._clock.monotonic() < lease.until

    async def beat(self) -> None:
        """Renews all leases once; one that was taken over meanwhile is over at once.

        One whose operation is being written at this moment stays as it is until the next time.
        """
        held = [(lease, lease.held()) for lease in self._held]
        if not held:
            return
        asked = self._clock.monotonic()
        leased_until = self._clock.now() + self._duration
        kept = await self._store.heartbeat([one for _, one in held], leased_until)
        for lease, one in held:
            renewed = kept.get(one)
            if renewed:
                lease.until = asked + self._duration.total_seconds()
            elif renewed is None and lease in self._held and lease.number == one.number:
                lease.until = asked

    async def run(self) -> None:
        """Renews the leases for as long as the process lives."""
        while True:
            await asyncio.sleep(self._duration.total_seconds() / HEARTBEATS_A_LEASE)
            try:
                await self.beat()
            except DatabaseUnavailable as error:
                # The leases end by themselves: nothing is sent under them then.
                logger.warning("heartbeat_failed", extra={"error": str(error)})
