"""The statements that move operations: begin, record, heartbeat (and `claim`, beside it): the one door.

Each takes one bucket and many rows. `record` is fenced: it lands only where the row is still at the revision, the lease
and the last call that the decision was made on: a call's going out is no revision, but a cancel that was decided on just
before it would forget that it is out. Rows go in the order of their ids, so that two writers never wait for each other
in a circle; where PostgreSQL locks in another order all the same, the deadlock's victim is sent again.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import asyncpg

from app.db.journal import AttemptStart
from app.db.rows import last_error_json, operation_of, steps_json
from app.saga.model import Operation

logger = logging.getLogger(__name__)

# The ids are said twice, here and in what is recorded: as the join's condition, and as an array. A statement keeps the
# plan that it was given while its table was empty, until that table is first analysed; from the join alone that plan
# would be to read the whole bucket.
BEGIN = """
UPDATE operations AS o
   SET steps = t.steps::json, last_run_at = t.last_run_at
  FROM unnest($2::uuid[], $3::int[], $4::int[], $5::text[], $6::timestamptz[])
       AS t(id, revision, lease, steps, last_run_at)
 WHERE o.bucket = $1 AND o.id = t.id AND o.revision = t.revision AND o.lease = t.lease AND o.status = 'processing'
RETURNING o.id
"""

RECORD = """
UPDATE operations AS o
   SET phase = t.phase, status = t.status, reason = t.reason, held_reason = t.held_reason, step = t.step,
       action = t.action, attempt = t.attempt, revision = t.revision + 1, lease = t.next_lease, next_run_at = t.next_run_at,
       complete_by = t.complete_by, locked_by = t.locked_by,
       leased_until = CASE WHEN t.status = 'processing' THEN o.leased_until END,
       deadline = t.deadline, cancel_requested_at = t.cancel_requested_at, last_error = t.last_error::json,
       steps = t.steps::json, transition = t.transition, updated_at = t.at, finished_at = t.finished_at
  FROM unnest($2::uuid[], $3::int[], $4::int[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[],
              $11::int[], $12::timestamptz[], $13::timestamptz[], $14::text[], $15::timestamptz[], $16::timestamptz[],
              $17::text[], $18::text[], $19::uuid[], $20::timestamptz[], $21::timestamptz[], $22::timestamptz[],
              $23::timestamptz[], $24::int[])
       AS t(id, revision, lease, phase, status, reason, held_reason, step, action, attempt, next_run_at, complete_by,
            locked_by, deadline, cancel_requested_at, last_error, steps, transition, at, finished_at, expired_before,
            last_run_at, next_lease)
 WHERE o.bucket = $1 AND o.id = ANY ($2) AND o.id = t.id AND o.revision = t.revision AND o.lease = t.lease
   AND o.last_run_at IS NOT DISTINCT FROM t.last_run_at
   AND (t.expired_before IS NULL OR o.leased_until <= t.expired_before)
RETURNING o.id
"""

HEARTBEAT = """
UPDATE operations AS o
   SET leased_until = $2
  FROM unnest($3::uuid[], $4::int[]) AS t(id, lease)
 WHERE o.bucket = $1 AND o.id = t.id AND o.lease = t.lease AND o.status = 'processing'
RETURNING o.id, o.lease
"""

# complete_by is the end of the lease as the claim set it, and a heartbeat only moves the end on: the index finds the
# few that may have expired, and leased_until says which have.
EXPIRED = """
SELECT *
  FROM operations
 WHERE bucket = $1 AND status = 'processing' AND complete_by <= $2 AND leased_until <= $2
   AND (complete_by, id) > ($4, $5)
 ORDER BY complete_by, id
 LIMIT $3
"""

# Where the first page begins.
BEFORE_ALL = (datetime(1970, 1, 1, tzinfo=UTC), UUID(int=0))

LOAD = "SELECT * FROM operations WHERE bucket = $1 AND id = $2"


@dataclass(frozen=True, slots=True)
class Begun:
    """A call that is about to go out: the operation as it stands then, and the attempt."""

    operation: Operation
    start: AttemptStart


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


@dataclass(frozen=True, slots=True)
class Change:
    """What `record` writes over a row: the operation after the decision, and what it was decided on."""

    bucket: int
    after: Operation
    lease: int
    transition: UUID
    at: datetime
    expired_before: datetime | None


def readable(row: asyncpg.Record) -> Operation | None:
    """The operation of a row; None where it cannot be read, which must not keep the rows beside it from being read."""
    try:
        return operation_of(row)
    except Exception:
        logger.exception("operation_unreadable", extra={"operation_id": row["id"]})
        return None


async def begin(connection: asyncpg.Connection, bucket: int, begun: Sequence[Operation]) -> set[UUID]:
    """Puts on record that calls are about to go out; returns the operations that are still ours."""
    rows = await connection.fetch(
        BEGIN,
        bucket,
        [operation.id for operation in begun],
        [operation.revision for operation in begun],
        [operation.lease for operation in begun],
        [steps_json(operation.steps) for operation in begun],
        [operation.last_run_at for operation in begun],
    )
    return {row["id"] for row in rows}


async def record(connection: asyncpg.Connection, bucket: int, changes: Sequence[Change]) -> set[UUID]:
    """Writes decisions over the operations they were made on; returns which of them have landed."""
    after = [change.after for change in changes]
    rows = await connection.fetch(
        RECORD,
        bucket,
        [operation.id for operation in after],
        [operation.revision - 1 for operation in after],
        [change.lease for change in changes],
        [operation.phase for operation in after],
        [operation.status for operation in after],
        [operation.reason for operation in after],
        [operation.held_reason for operation in after],
        [operation.step for operation in after],
        [operation.action for operation in after],
        [operation.attempt for operation in after],
        [operation.next_run_at for operation in after],
        [operation.complete_by for operation in after],
        [operation.locked_by for operation in after],
        [operation.deadline for operation in after],
        [operation.cancel_requested_at for operation in after],
        [last_error_json(operation.last_error) for operation in after],
        [steps_json(operation.steps) for operation in after],
        [change.transition for change in changes],
        [change.at for change in changes],
        [operation.finished_at for operation in after],
        [change.expired_before for change in changes],
        [operation.last_run_at for operation in after],
        [operation.lease for operation in after],
    )
    return {row["id"] for row in rows}


async def heartbeat(
    connection: asyncpg.Connection, bucket: int, leases: Sequence[tuple[UUID, int]], leased_until: datetime
) -> set[tuple[UUID, int]]:
    """Moves the end of leases on; returns those that still hold."""
    rows = await connection.fetch(
        HEARTBEAT, bucket, leased_until, [id for id, _ in leases], [lease for _, lease in leases]
    )
    return {(row["id"], row["lease"]) for row in rows}


async def expired(
    connection: asyncpg.Connection, bucket: int, now: datetime, most: int, after: Expired | None
) -> Expired:
    """Operations whose lease has run out, oldest first. A list to decide on: the door checks each one again.

    Args:
        after: the page before, for the next one: those that cannot be decided on must not hide the others for ever.
    """
    before = after.last if after else BEFORE_ALL
    rows = await connection.fetch(EXPIRED, bucket, now, most, *before)
    last = (rows[-1]["complete_by"], rows[-1]["id"]) if rows else before
    found = [operation for row in rows if (operation := readable(row)) is not None]
    return Expired(found, len(rows) == most, last)


async def load(connection: asyncpg.Connection, bucket: int, operation_id: UUID) -> Operation | None:
    """The operation as it is stored, or None."""
    row = await connection.fetchrow(LOAD, bucket, operation_id)
    return None if row is None else operation_of(row)
