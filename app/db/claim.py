"""The claim: what is due is taken under a lease, and where its call is known already, that goes on record with it.

What is due is locked, its calls are prepared by whoever will make them, and one statement takes it all: so an operation
whose next call can go out at once is written twice in all, here and when its answer comes.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

import asyncpg

from app.db.journal import told
from app.db.operations import Begun, readable
from app.db.rows import OPERATION_COLUMNS, steps_json
from app.saga.model import Operation, Status
from app.saga.retry import taken

# What is taken, with the event that made it. Each is looked up by its key: joined, the plan of a large backlog could be to
# read all events. Whether refunds were told of is asked when the operation is on disk: what is told later finds it there.
# The limit keeps the planner from reading all refunds of the bucket at once.
WITH_EVENT = f"""
{", ".join(f"o.{name}" for name in OPERATION_COLUMNS)},
(SELECT e.payload FROM events AS e
  WHERE e.bucket = $1 AND e.operation_serial = o.serial AND e.status = 'accepted') AS payload,
(SELECT true FROM external_refunds AS r WHERE r.bucket = $1 AND r.operation_id = o.id LIMIT 1) AS refunds_told
"""

# What another claims is passed over by its row in the queue; what is being decided on at this moment, by the operation's.
DUE = f"""
WITH due AS MATERIALIZED (
    SELECT operation_serial
      FROM queue
     WHERE bucket = $1 AND next_run_at <= $2
     ORDER BY next_run_at, operation_serial
     LIMIT $3
       FOR UPDATE SKIP LOCKED
)
SELECT o.status AS from_status, {WITH_EVENT}
  FROM operations AS o
 WHERE o.bucket = $1 AND o.serial = ANY (ARRAY(SELECT operation_serial FROM due)) AND o.next_run_at <= $2
   FOR UPDATE OF o SKIP LOCKED
"""

TAKE = """
/* take */ WITH t AS (
    SELECT *
      FROM unnest($6::claimed[])
), taken AS (
    UPDATE operations AS o
       SET status = 'processing', attempt = o.attempt + 1, lease = o.lease + 1, revision = o.revision + 1,
           next_run_at = NULL, complete_by = $2, leased_until = $2, locked_by = $3, transition = $4, updated_at = $5,
           steps = coalesce(t.steps, o.steps), last_run_at = coalesce(t.last_run_at, o.last_run_at)
      FROM t
     WHERE o.bucket = $1 AND o.serial = ANY (ARRAY(SELECT serial FROM t)) AND o.serial = t.serial
    RETURNING o.phase, o.revision, o.lease, t.*
), queued AS (
    UPDATE queue
       SET next_run_at = NULL, complete_by = $2
     WHERE bucket = $1 AND operation_serial = ANY (ARRAY(SELECT serial FROM t))
), past AS (
    INSERT INTO history (bucket, operation_serial, revision, transition, from_phase, from_status, to_phase, to_status,
                         cause, actor, at)
    SELECT $1::smallint, serial, revision, $4, phase, from_status, phase, 'processing', 'claimed', $3, $5
      FROM taken
)
INSERT INTO attempts (bucket, operation_serial, lease, step, action, attempt, idempotency_key, worker, request, started_at)
SELECT $1, serial, lease, step, action, attempt, key, $3, request, started_at
  FROM taken
 WHERE request IS NOT NULL
    ON CONFLICT (bucket, operation_serial, lease) DO NOTHING
"""

# After a claim whose commit broke on the wire: what it has taken, if it has.
CLAIMED = f"""
SELECT h.from_status, {WITH_EVENT}
  FROM queue AS q
  JOIN operations AS o ON o.bucket = q.bucket AND o.serial = q.operation_serial
  JOIN history AS h ON h.bucket = o.bucket AND h.operation_serial = o.serial AND h.revision = o.revision
 WHERE q.bucket = $1 AND q.complete_by IS NOT NULL AND o.locked_by = $2 AND o.transition = $3 AND h.transition = $3
"""


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim that is to be made; its id finds again what it has taken when the answer was lost."""

    id: UUID
    bucket: int
    most: int
    worker: str
    at: datetime
    leased_until: datetime


@dataclass(slots=True)
class Claimed:
    """An operation that is ours until the lease ends.

    Args:
        event: the raw body of the webhook that made it.
        refunds_told: whether its payment's provider has told of refunds.
    """

    operation: Operation
    from_status: Status
    event: bytes | None
    refunds_told: bool = False


# Prepares the call of an operation that is being taken; None where its call has to wait for something.
BeginWith = Callable[[Claimed], Begun | None]


def nothing_begun(_claimed: Claimed) -> None:
    """Takes, and puts no call on record."""


async def claim(connection: asyncpg.Connection, wanted: Claim, begin_with: BeginWith, *, resent: bool) -> list[Claimed]:
    """Takes what is due, soonest first, at most `wanted.most`; what another worker is taking is passed over.

    The attempt is counted here, so that a payload that kills its process is counted too.
    """
    if resent:
        rows = await connection.fetch(CLAIMED, wanted.bucket, wanted.worker, wanted.id)
        if rows:
            return _claimed(rows)
    rows = await connection.fetch(DUE, wanted.bucket, wanted.at, wanted.most)
    if not rows:
        return []
    ours = [
        replace(one, operation=taken(one.operation, wanted.worker, wanted.at, wanted.leased_until))
        for one in _claimed(rows)
    ]
    begun = {one.operation.id: start for one in ours if (start := begin_with(one)) is not None}
    taking = rows_of(sorted((row["serial"], row["from_status"], begun.get(row["id"])) for row in rows))
    await connection.execute(TAKE, wanted.bucket, wanted.leased_until, wanted.worker, wanted.id, wanted.at, taking)
    return ours


def rows_of(claimed: Iterable[tuple[UUID, str, Begun | None]]) -> list[tuple[object, ...]]:
    """What is claimed, as `TAKE` takes it.

    Args:
        claimed: the serials, their status until now, and their calls where they have one.
    """
    return [_row(*one) for one in claimed]


def _row(serial: UUID, from_status: str, begun: Begun | None) -> tuple[object, ...]:
    """A `claimed` of the database's types, in the order in which that has its columns."""
    if begun is None:
        return serial, from_status, *[None] * 8
    return serial, from_status, *told(begun.start), steps_json(begun.operation.steps), begun.operation.last_run_at


def _claimed(rows: Sequence[asyncpg.Record]) -> list[Claimed]:
    """The operations of rows with the events that made them, oldest first.

    One whose row this program cannot read, as a newer one may have written it, is not among them. The claim keeps it out
    of the way of the others: it stands, in the log as well, until a program comes that can.
    """
    ordered = sorted(rows, key=lambda row: row["created_at"])
    return [
        Claimed(operation, Status(row["from_status"]), row["payload"], refunds_told=bool(row["refunds_told"]))
        for row in ordered
        if (operation := readable(row)) is not None
    ]
