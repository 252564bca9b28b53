"""Finds operations whose worker has not renewed its lease, and decides what that means for the call it may have made.

The list is only a list: the decision lands only if the lease has still run out when it is written, so a heartbeat that
comes between, or another supervisor, makes it void.
"""

import asyncio
import logging
import random
from datetime import timedelta

from app.clock import Clock
from app.db.decisions import crashed
from app.db.sagas import Sagas
from app.db.store import Store
from app.db.wakeup import Wakeup
from app.errors import DatabaseUnavailable
from app.saga import advance
from app.saga.model import Operation
from app.saga.signals import LeaseExpired

logger = logging.getLogger(__name__)

MOST_AT_ONCE = 200


class Supervisor:
    """One supervisor a worker process; any number of them may run side by side."""

    def __init__(self, store: Store, sagas: Sagas, clock: Clock, wakeup: Wakeup, worker: str) -> None:
        self._store = store
        self._sagas = sagas
        self._clock = clock
        self._wakeup = wakeup
        self._actor = f"supervisor:{worker}"

    async def look(self) -> int:
        """Takes back all leases that have run out; returns how many it has taken back itself."""
        taken = 0
        for bucket in range(self._store.buckets):
            page = await self._store.expired(bucket, MOST_AT_ONCE)
            taken += await self._take_all_back(page.operations)
            while page.more:
                page = await self._store.expired(bucket, MOST_AT_ONCE, page)
                taken += await self._take_all_back(page.operations)
        if taken:
            self._wakeup.signal()
        return taken

    async def run(self, interval: timedelta) -> None:
        """Looks again and again."""
        while True:
            try:
                await self.look()
            except DatabaseUnavailable as error:
                logger.warning("supervise_unavailable", extra={"error": str(error)})
            await asyncio.sleep(interval.total_seconds() * (0.5 + random.random()))

    async def _take_all_back(self, found: list[Operation]) -> int:
        taken = 0
        results = await asyncio.gather(*(self._take_back(operation) for operation in found), return_exceptions=True)
        for operation, result in zip(found, results, strict=True):
            if isinstance(result, DatabaseUnavailable):
                logger.warning("supervise_unavailable", extra={"error": str(result), "operation_id": operation.id})
            elif isinstance(result, BaseException):
                # One operation that cannot be decided on must not keep the others waiting.
                logger.error("supervise_failed", exc_info=result, extra={"operation_id": operation.id})
            else:
                taken += result
        return taken

    async def _take_back(self, operation: Operation) -> bool:
        saga = await self._sagas.get(operation.saga_hash)
        now = self._clock.now()
        transition = advance(saga, operation, LeaseExpired(), now, random.random())
        if transition is None:
            return False
        attempt = crashed(operation, now)
        landed = await self._store.record(transition, actor=self._actor, attempt=attempt, expired_before=now)
        if landed:
            logger.warning(
                "lease_expired",
                extra={"operation_id": operation.id, "step": operation.step, "locked_by": operation.locked_by},
            )
        return landed
