"""The numbers of the whole: how many operations stand where, and whether every payment is among them."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, text
from sqlmodel import col

from app.db.engine import AsyncEngine, translated
from app.db.tables import EventRow, EventStatus, OperationRow
from app.saga.model import Phase, Status

# In each bucket the first of the queue that is pending.
OLDEST_PENDING = text("""
SELECT min(first.next_run_at)
  FROM installation
 CROSS JOIN generate_series(0, buckets - 1) AS dealt(bucket)
 CROSS JOIN LATERAL (SELECT q.next_run_at
                       FROM queue AS q
                       JOIN operations AS o ON o.bucket = q.bucket AND o.serial = q.operation_serial
                      WHERE q.bucket = dealt.bucket AND q.next_run_at <= CAST(:now AS timestamptz) AND o.status = 'pending'
                      ORDER BY q.next_run_at
                      LIMIT 1) AS first
""")
# The ending that stands: what was opened again, or was changed once it was final, counts by that.
FINISHED = text("""
SELECT count(*)
  FROM history AS h
  JOIN operations AS o ON o.bucket = h.bucket AND o.serial = h.operation_serial
 WHERE h.to_status IN ('succeeded', 'refunded') AND h.at > CAST(:now AS timestamptz) - interval '1 minute'
   AND o.finished_at = h.at
""")


@dataclass(frozen=True, slots=True)
class StatusCount:
    """How many operations stand in a status of a phase."""

    status: Status
    phase: Phase
    count: int


@dataclass(frozen=True, slots=True)
class Stats:
    """The numbers at one instant.

    Args:
        payments: how many payments were accepted; counted by the events, not by the operations.
        oldest_pending_seconds: how long the one that has been pending longest has been due; 0 where none is.
        finished_per_minute: how many ended in the last minute.
    """

    operations: tuple[StatusCount, ...]
    payments: int
    oldest_pending_seconds: float
    finished_per_minute: int

    @property
    def succeeded(self) -> int:
        """Operations whose purchase was made."""
        return self._in(Status.SUCCEEDED)

    @property
    def refunded(self) -> int:
        """Operations whose money went back."""
        return self._in(Status.REFUNDED)

    @property
    def held(self) -> int:
        """Operations that need a human."""
        return self._in(Status.HELD)

    @property
    def under_way(self) -> int:
        """All others."""
        return sum(part.count for part in self.operations) - self.succeeded - self.refunded - self.held

    @property
    def difference(self) -> int:
        """Payments that no operation answers for: always 0, or something is wrong."""
        return self.payments - sum(part.count for part in self.operations)

    def _in(self, status: Status) -> int:
        return sum(part.count for part in self.operations if part.status is status)


async def stats(engine: AsyncEngine, now: datetime) -> Stats:
    """The numbers, all of one snapshot, or a payment that arrives meanwhile would look like a difference.

    Args:
        now: the database's time.

    Raises:
        DatabaseUnavailable: the database cannot be asked.
    """
    row = OperationRow
    by_status = select(col(row.status), col(row.phase), func.count()).group_by(col(row.status), col(row.phase))
    accepted = select(func.count()).select_from(EventRow).where(col(EventRow.status) == EventStatus.ACCEPTED)
    with translated():
        async with engine.connect() as connection:
            await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            counts = (await connection.execute(by_status.order_by(col(row.status), col(row.phase)))).all()
            payments = await connection.scalar(accepted)
            due_since = await connection.scalar(OLDEST_PENDING, {"now": now})
            ended = await connection.scalar(FINISHED, {"now": now})
    return Stats(
        operations=tuple(StatusCount(*count) for count in counts),
        payments=payments or 0,
        oldest_pending_seconds=(now - due_since).total_seconds() if due_since else 0.0,
        finished_per_minute=ended or 0,
    )
