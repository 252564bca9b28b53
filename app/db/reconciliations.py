"""The schedule of reconciliations: one row a source, which one process at a time holds; and what they look for.

A row is taken by one statement, so of two processes that find it due at once, one gets it. Whoever holds it says so again
before each question to the provider; where he has died, or stood still for too long, the row is free again after the
lease, and when he wakes he finds that it is not his any more.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, Integer, Text, Uuid, any_, bindparam, select, text
from sqlmodel import Field, SQLModel, col

from app.db.engine import AsyncEngine, translated
from app.db.reads import COLUMNS
from app.db.rows import bucket_of, operation_of
from app.db.schema import buckets
from app.db.tables import TIME, OperationRow
from app.saga.model import Operation


class ReconciliationRow(SQLModel, table=True):
    """The schedule of one source, by its identity, and what its last reconciliation has counted.

    Args:
        lease: the number of the present or the last turn; each makes a new one.
        leased_until: while somebody has the turn.
    """

    __tablename__ = "reconciliations"
    __table_args__ = (
        CheckConstraint("(ended_at is null) = (payments is null)", name="reconciliations_counted_when_ended"),
    )

    source: str = Field(primary_key=True, sa_type=Text)
    lease: int = Field(sa_type=Integer)
    leased_until: datetime | None = Field(sa_type=TIME)
    due_at: datetime = Field(sa_type=TIME)
    ended_at: datetime | None = Field(sa_type=TIME)
    payments: int | None = Field(sa_type=Integer)
    missing: int | None = Field(sa_type=Integer)
    differences: int | None = Field(sa_type=Integer)


# A schedule that was made shorter counts at once: what is due later than an interval from now is due now.
TAKE = text("""
INSERT INTO reconciliations AS r (source, lease, leased_until, due_at)
VALUES (:source, 1, :until, :now)
    ON CONFLICT (source) DO UPDATE SET lease = r.lease + 1, leased_until = excluded.leased_until
 WHERE (r.leased_until IS NULL OR r.leased_until < :now) AND (r.due_at <= :now OR r.due_at > :latest)
RETURNING lease
""")

EXTEND = text(
    "UPDATE reconciliations SET leased_until = :until WHERE source = :source AND lease = :lease RETURNING lease"
)

END = text("""
UPDATE reconciliations
   SET leased_until = NULL, due_at = :due_at, ended_at = coalesce(:ended_at, ended_at),
       payments = coalesce(:payments, payments), missing = coalesce(:missing, missing),
       differences = coalesce(:differences, differences)
 WHERE source = :source AND lease = :lease
""")

KEPT = text("""
SELECT EXISTS (SELECT FROM events
                WHERE status = 'unprocessable' AND source = :source AND position(:named IN payload) > 0)
""")


@dataclass(frozen=True, slots=True)
class Result:
    """What a reconciliation on the schedule has counted."""

    payments: int
    missing: int
    differences: int


class Turns:
    """Whose turn it is to reconcile a source.

    Args:
        lease: how long a turn holds that is not extended.
    """

    def __init__(self, engine: AsyncEngine, lease: timedelta) -> None:
        self._engine = engine
        self._lease = lease

    async def take(self, source: str, now: datetime, every: timedelta) -> int | None:
        """The number of the turn, if it is due and nobody has it.

        Args:
            source: its identity, which stays when it is renamed.
            every: the time between two of them.

        Raises:
            DatabaseUnavailable: the database cannot be asked; so do all methods here.
        """
        # Beyond the interval by a lease: who asked a moment before another one's turn began, and was answered after it had
        # ended, must not take the next one for a schedule that was made shorter.
        latest = now + every + self._lease
        named = {"source": source, "now": now, "until": now + self._lease, "latest": latest}
        with translated():
            async with self._engine.begin() as connection:
                lease: int | None = await connection.scalar(TAKE, named)
        return lease

    async def extend(self, source: str, turn: int, now: datetime) -> bool:
        """Holds a turn for another lease; False where somebody else has it by now."""
        with translated():
            async with self._engine.begin() as connection:
                named = {"source": source, "lease": turn, "until": now + self._lease}
                return await connection.scalar(EXTEND, named) is not None

    async def end(self, source: str, turn: int, due_at: datetime, now: datetime, result: Result | None) -> None:
        """Gives a turn back, where it is still held.

        Args:
            due_at: when the next one is.
            result: None where it failed; what was counted before stays then.
        """
        named = {
            "source": source,
            "lease": turn,
            "due_at": due_at,
            "ended_at": None if result is None else now,
            "payments": None if result is None else result.payments,
            "missing": None if result is None else result.missing,
            "differences": None if result is None else result.differences,
        }
        with translated():
            async with self._engine.begin() as connection:
                await connection.execute(END, named)


async def known(engine: AsyncEngine, ids: Collection[UUID]) -> dict[UUID, Operation]:
    """Those of the operations that exist, in one statement however many they are. Raises DatabaseUnavailable."""
    if not ids:
        return {}
    dealt = await buckets(engine)
    wanted = select(*COLUMNS).where(
        col(OperationRow.bucket).in_({bucket_of(id_, dealt) for id_ in ids}),
        col(OperationRow.id) == any_(bindparam("ids", list(ids), type_=ARRAY(Uuid()))),
    )
    with translated():
        async with engine.connect() as connection:
            return {row["id"]: operation_of(row) for row in (await connection.execute(wanted)).mappings()}


async def is_kept(engine: AsyncEngine, source: str, payment_id: str) -> bool:
    """Whether an unprocessable event of a source names a payment. Raises DatabaseUnavailable."""
    named = json.dumps(payment_id, ensure_ascii=False).encode()
    with translated():
        async with engine.connect() as connection:
            return bool(await connection.scalar(KEPT, {"source": source, "named": named}))
