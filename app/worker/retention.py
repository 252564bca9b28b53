"""Empties what nobody needs any more, a small batch at a time, so that it never holds a lock for long."""

import asyncio
import logging
from datetime import timedelta

from app.clock import Clock
from app.db.engine import AsyncEngine
from app.db.retention import drop_events, drop_receipts, drop_refund_claims, drop_refunds_told, strip_finished
from app.errors import DatabaseUnavailable
from app.settings import Retention

logger = logging.getLogger(__name__)

# How long an operator's call with an `Idempotency-Key` is answered the same again.
RECEIPTS_KEPT = timedelta(hours=48)
# What has been kept for weeks may be kept ten minutes longer; what is kept for a minute, as in a trial, a minute longer.
LONGEST_INTERVAL = timedelta(minutes=10)
SHORTEST_INTERVAL = timedelta(seconds=1)


def interval(retention: Retention) -> timedelta:
    """The time between two sweeps."""
    kept = min(retention.events, retention.finished or LONGEST_INTERVAL)
    return max(SHORTEST_INTERVAL, min(LONGEST_INTERVAL, kept))


class Sweeper:
    """Carries out the `[retention]` of the configuration."""

    def __init__(self, engine: AsyncEngine, retention: Retention, clock: Clock) -> None:
        self._engine = engine
        self._retention = retention
        self._clock = clock

    async def sweep(self) -> int:
        """Sweeps until nothing is left to sweep; returns the rows that were touched."""
        touched = 0
        for drop in (drop_events, drop_refunds_told, drop_refund_claims):
            while rows := await drop(self._engine, self._clock.now() - self._retention.events):
                touched += rows
        while rows := await drop_receipts(self._engine, self._clock.now() - RECEIPTS_KEPT):
            touched += rows
        kept = self._retention.finished
        while kept is not None and (rows := await strip_finished(self._engine, self._clock.now() - kept)):
            touched += rows
        return touched

    async def run(self) -> None:
        """Sweeps again and again."""
        while True:
            try:
                touched = await self.sweep()
            except DatabaseUnavailable as error:
                logger.warning("retention_unavailable", extra={"error": str(error)})
            else:
                if touched:
                    logger.info("retention_swept", extra={"rows": touched})
            await asyncio.sleep(interval(self._retention).total_seconds())
