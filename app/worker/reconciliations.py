"""Carries out the `reconcile` of the sources: each when it is due, by one process at a time."""

import asyncio
import logging
from collections.abc import Collection
from datetime import datetime, timedelta

from app.clock import Clock
from app.db.reconciliations import Result, Turns
from app.errors import AgentError, DatabaseUnavailable
from app.reconcile import Reconciler, Report
from app.settings import Reconcile, Source

logger = logging.getLogger(__name__)

# How often a process looks whether a source is due: the shortest schedule is a minute.
LOOK_INTERVAL = timedelta(seconds=15)
# How soon one that failed is tried again: its provider has been asked several times by then.
RETRY_INTERVAL = timedelta(minutes=10)
# How long a turn holds after a question to the provider, beside the agent's own timeout: the longest wait that it may
# ask for is two minutes, and one for a slot may come on top.
LEASE_MARGIN = timedelta(minutes=5)
# Findings of one reconciliation that are logged one by one; the command shows all of them.
MOST_LOGGED = 100


class TurnLost(Exception):
    """This process stood still for so long that somebody else has the turn now."""


class Reconciliations:
    """The schedules of a worker process.

    Args:
        sources: those that have one.
    """

    def __init__(self, reconciler: Reconciler, turns: Turns, sources: Collection[Source], clock: Clock) -> None:
        self._reconciler = reconciler
        self._turns = turns
        self._schedules = [(source, source.reconcile) for source in sources if source.reconcile is not None]
        self._clock = clock

    async def run(self) -> None:
        """Looks again and again; a source with many payments does not keep the others waiting."""
        async with asyncio.TaskGroup() as group:
            for source, schedule in self._schedules:
                group.create_task(self._keep(source, schedule), name=f"reconcile {source.name}")

    async def look(self, source: Source, schedule: Reconcile) -> bool:
        """Reconciles a source, if it is due and nobody does it; returns whether it was this process's turn.

        Raises:
            DatabaseUnavailable: the turn, if there was one, is free again after its lease.
        """
        began = self._clock.now()
        turn = await self._turns.take(source.identity, began, schedule.every)
        if turn is None:
            return False

        async def hold() -> None:
            if not await self._turns.extend(source.identity, turn, self._clock.now()):
                raise TurnLost

        try:
            report = await self._reconciler.reconcile(source, schedule.since, before=hold)
        except AgentError as error:
            logger.warning("reconciliation_failed", extra={"source": source.name, "error": str(error)})
            due_at = self._clock.now() + min(schedule.every, RETRY_INTERVAL)
            await self._end(source, turn, due_at, None)
        except TurnLost:
            logger.warning("reconciliation_left", extra={"source": source.name})
        else:
            _tell(report)
            await self._end(source, turn, began + schedule.every, report)
        return True

    async def _end(self, source: Source, turn: int, due_at: datetime, report: Report | None) -> None:
        result = None if report is None else Result(report.payments, report.missing, report.differences)
        await self._turns.end(source.identity, turn, due_at, self._clock.now(), result)

    async def _keep(self, source: Source, schedule: Reconcile) -> None:
        while True:
            try:
                await self.look(source, schedule)
            except DatabaseUnavailable as error:
                logger.warning("reconciliation_unavailable", extra={"source": source.name, "error": str(error)})
            await asyncio.sleep(LOOK_INTERVAL.total_seconds())


def _tell(report: Report) -> None:
    counts = {"payments": report.payments, "missing": report.missing, "differences": report.differences}
    logger.info("reconciled", extra={"source": report.source, **counts})
    for finding in [finding for finding in report.findings if finding.differs][:MOST_LOGGED]:
        said = {
            "source": report.source,
            "difference": finding.difference.value,
            "payment_id": finding.payment_id,
            "operation_id": finding.operation_id,
            "here": finding.here,
            "there": finding.there,
            "detail": finding.detail,
        }
        logger.warning("reconciliation_found", extra=said)
