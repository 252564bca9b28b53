"""The statements that move operations: begin and heartbeat here, `claim` and `decisions` beside it: the one door.

Each takes one bucket and many rows. Rows go in the order of their serials and are looked for by them, so that two writers never
wait for each other in a circle; where PostgreSQL locks in another order all the same, the deadlock's victim is sent again.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg

from app.db.batches import DURABLE, ids_of
from app.db.journal import AttemptStart, told
from app.db.rows import operation_of, steps_json
from app.saga.model import Operation

logger = logging.getLogger(__name__)

# The ids are said twice, here and in what is recorded: as the join's condition, and as an array. A statement keeps the
# plan that it was given while its table was empty, until that table is first analysed; from the join alone that plan
# would be to read the whole bucket. That the operation is processing needs no asking: each change makes a new revision.
BEGIN = f"""
/* begin */ WITH t AS (
    SELECT *
      FROM unnest($2::begun[])
), still AS (
    UPDATE operations AS o
       SET steps = t.steps, last_run_at = t.last_run_at
      FROM t
     WHERE o.bucket = $1 AND o.serial = ANY (ARRAY(SELECT serial FROM t)) AND o.serial = t.serial AND o.revision = t.revision AND o.lease = t.lease
    RETURNING o.id, t.*
), begun AS (
    INSERT INTO attempts (bucket, operation_serial, lease, step, action, attempt, idempotency_key, worker, request,
                          started_at)
    SELECT $1::smallint, serial, lease, step, action, attempt, key, $3, request, at
      FROM still
        ON CONFLICT (bucket, operation_serial, lease) DO NOTHING
)
SELECT id FROM {DURABLE} LEFT JOIN still ON true
"""

# It waits for nobody: a row that is being written at this moment is left for the next heartbeat. In whatever order the others
# take their rows, no circle goes through here.
HEARTBEAT = """
WITH ours AS MATERIALIZED (
    SELECT serial, lease
      FROM operations
     WHERE bucket = $1 AND serial = ANY ($3::uuid[]) AND lease = ($4::int[])[array_position($3, serial)]
       AND status = 'processing'
), held AS MATERIALIZED (
    SELECT serial
      FROM operations
     WHERE bucket = $1 AND serial = ANY (ARRAY(SELECT serial FROM ours)) AND status = 'processing'
       AND lease = ($4::int[])[array_position($3, serial)]
       FOR NO KEY UPDATE SKIP LOCKED
), renewed AS (
    UPDATE operations
       SET leased_until = $2
     WHERE bucket = $1 AND serial = ANY (ARRAY(SELECT serial FROM held))
    RETURNING serial
)
SELECT serial, lease, renewed.serial IS NOT NULL AS renewed FROM ours LEFT JOIN renewed USING (serial)
"""

# complete_by is the end of the lease as the claim set it, and a heartbeat only moves the end on: the index finds the
# few that may have expired, and leased_until says which have.
EXPIRED = """
SELECT o.*
  FROM queue AS q
  JOIN operations AS o ON o.bucket = q.bucket AND o.serial = q.operation_serial
 WHERE q.bucket = $1 AND q.complete_by <= $2 AND o.leased_until <= $2
   AND (q.complete_by, q.operation_serial) > ($4, $5)
 ORDER BY q.complete_by, q.operation_serial
 LIMIT $3
"""

# Where the first page begins.
BEFORE_ALL = (datetime(1970, 1, 1, tzinfo=UTC), UUID(int=0))

LOAD = "SELECT * FROM operations WHERE bucket = $1 AND id = $2"


@dataclass(slots=True)
class Begun:
    """A call that is about to go out: the operation as it stands then, and the attempt."""

    operation: Operation
    start: AttemptStart


class HeldLease(NamedTuple):
    """A claim that a heartbeat renews: the serial and the id of its operation, and the number of the lease."""

    serial: UUID
    operation_id: UUID
    number: int

    @classmethod
    def of(cls, operation: Operation) -> "HeldLease":
        """The claim that an operation is under."""
        return cls(operation.serial, operation.id, operation.lease)


@dataclass(frozen=True, slots=True)
class Expired:
    """A page of operations whose lease has run out.

    Args:
        more: whether there may be another page.
        last: where this one ends.
    """

    operations: list[Operation]
    more: bool
    last: tuple[datetime, UUID]


def readable(row: asyncpg.Record) -> Operation | None:
    """The operation of a row; None where it cannot be read, which must not keep the rows beside it from being read."""
    try:
        return operation_of(row)
    except Exception:
        logger.exception("operation_unreadable", extra={"operation_id": row["id"]})
        return None


async def begin(connection: asyncpg.Connection, bucket: int, begun: Sequence[Begun]) -> set[UUID]:
    """Puts calls on record that are about to go out; returns the operations that are still ours."""
    return ids_of(await connection.fetch(BEGIN, bucket, rows_of(begun), begun[0].start.worker))


def rows_of(begun: Sequence[Begun]) -> list[tuple[object, ...]]:
    """Calls as `BEGIN` takes them."""
    return [_row(one.operation, one.start) for one in begun]


def _row(operation: Operation, start: AttemptStart) -> tuple[object, ...]:
    """A `begun` of the database's types, in the order in which that has its columns."""
    still = operation.serial, operation.revision, operation.lease, steps_json(operation.steps), operation.last_run_at
    return *still, *told(start)


async def heartbeat(
    connection: asyncpg.Connection, bucket: int, leases: Sequence[HeldLease], leased_until: datetime
) -> dict[HeldLease, bool]:
    """Moves the end of leases on; returns those that still hold, and of each whether its end was moved on.

    It was not where somebody is writing the operation. Of one operation only the last lease can hold: an earlier one was
    lost, and the operation claimed anew.
    """
    last = {one.serial: one.number for one in sorted(leases)}
    rows = await connection.fetch(HEARTBEAT, bucket, leased_until, list(last), list(last.values()))
    found = {(row["serial"], row["lease"]): bool(row["renewed"]) for row in rows}
    return {one: found[one.serial, one.number] for one in leases if (one.serial, one.number) in found}


async def expired(
    connection: asyncpg.Connection, bucket: int, now: datetime, most: int, after: Expired | None
) -> Expired:
    """Operations whose lease has run out, oldest first. A list to decide on: the door checks each one again.

    Args:
        after: the page before, for the next one: those that cannot be decided on must not hide the others for ever.
    """
    before = after.last if after else BEFORE_ALL
    rows = await connection.fetch(EXPIRED, bucket, now, most, *before)
    last = (rows[-1]["complete_by"], rows[-1]["serial"]) if rows else before
    found = [operation for row in rows if (operation := readable(row)) is not None]
    return Expired(found, len(rows) == most, last)


async def load(connection: asyncpg.Connection, bucket: int, operation_id: UUID) -> Operation | None:
    """The operation as it is stored, or None."""
    row = await connection.fetchrow(LOAD, bucket, operation_id)
    return None if row is None else operation_of(row)
