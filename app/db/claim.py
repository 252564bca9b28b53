"""The claim: what is due is taken under a lease, and where its call is known already, that goes on record with it.

What is due is locked, its calls are prepared by whoever will make them, and one statement takes it all: so an operation
whose next call can go out at once is written twice in all, here and when its answer comes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

import asyncpg

from app.db import journal
from app.db.journal import HistoryEntry, claim_entry
from app.db.operations import Begun, readable
from app.db.rows import steps_json
from app.saga.model import Operation, Phase, Status
from app.saga.retry import taken

DUE = """
SELECT *
  FROM operations
 WHERE bucket = $1 AND status IN ('pending', 'error', 'waiting') AND next_run_at <= $2
 ORDER BY next_run_at, id
 LIMIT $3
   FOR UPDATE SKIP LOCKED
"""

TAKE = """
UPDATE operations AS o
   SET status = 'processing', attempt = o.attempt + 1, lease = o.lease + 1, revision = o.revision + 1,
       next_run_at = NULL, complete_by = $3, leased_until = $3, locked_by = $4, transition = $5, updated_at = $6,
       steps = coalesce(t.steps::json, o.steps), last_run_at = coalesce(t.last_run_at, o.last_run_at)
  FROM unnest($2::uuid[], $7::text[], $8::timestamptz[]) AS t(id, steps, last_run_at)
 WHERE o.bucket = $1 AND o.id = ANY ($2) AND o.id = t.id
"""

# After a claim whose commit broke on the wire: what it has taken, if it has.
CLAIMED = """
SELECT o.*, h.from_status
  FROM operations AS o
  JOIN history AS h ON h.bucket = o.bucket AND h.operation_id = o.id AND h.revision = o.revision
 WHERE o.bucket = $1 AND o.status = 'processing' AND o.locked_by = $2 AND o.transition = $3 AND h.transition = $3
"""

# Whether refunds were told of is asked when the operation is on disk: what is told later finds it there. The limit keeps
# the planner from reading all refunds of the bucket at once.
PAYLOADS = """
SELECT id, payload,
       (SELECT true FROM external_refunds AS r
         WHERE r.bucket = $1 AND r.operation_id = e.operation_id LIMIT 1) AS refunds_told
  FROM events AS e
 WHERE e.bucket = $1 AND e.id = ANY($2::uuid[])
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


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An operation that was claimed though this program cannot read its row, as a newer one may have written it.

    The claim keeps it out of the way of the others: it stands, in the log as well, until a program comes that can.
    """

    id: UUID
    phase: Phase
    from_status: Status
    revision: int


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
            found = await _with_events(connection, wanted.bucket, [(row, Status(row["from_status"])) for row in rows])
            return [one for one in found if isinstance(one, Claimed)]
    rows = await connection.fetch(DUE, wanted.bucket, wanted.at, wanted.most)
    if not rows:
        return []
    found = await _with_events(connection, wanted.bucket, [(row, Status(row["status"])) for row in rows])
    ours = [
        replace(one, operation=taken(one.operation, wanted.worker, wanted.at, wanted.leased_until))
        for one in found
        if isinstance(one, Claimed)
    ]
    begun = {one.operation.id: start for one in ours if (start := begin_with(one)) is not None}
    await _take(connection, wanted, sorted(row["id"] for row in rows), begun)
    await journal.add_history(connection, wanted.bucket, [_entry(wanted, one) for one in found])
    if begun:
        await journal.open_attempts(connection, wanted.bucket, [one.start for one in begun.values()])
    return ours


async def _take(connection: asyncpg.Connection, wanted: Claim, ids: Sequence[UUID], begun: dict[UUID, Begun]) -> None:
    operations = [begun[id_].operation if id_ in begun else None for id_ in ids]
    await connection.execute(
        TAKE,
        wanted.bucket,
        ids,
        wanted.leased_until,
        wanted.worker,
        wanted.id,
        wanted.at,
        [None if operation is None else steps_json(operation.steps) for operation in operations],
        [None if operation is None else operation.last_run_at for operation in operations],
    )


async def _with_events(
    connection: asyncpg.Connection, bucket: int, rows: Sequence[tuple[asyncpg.Record, Status]]
) -> list[Claimed | Unreadable]:
    """The operations of rows with the events that made them, oldest first."""
    payloads = await connection.fetch(PAYLOADS, bucket, [row["event_id"] for row, _ in rows])
    event_of = {row["id"]: row for row in payloads}
    ordered = sorted(rows, key=lambda pair: pair[0]["created_at"])
    return [_claimed(row, from_status, event_of.get(row["event_id"])) for row, from_status in ordered]


def _claimed(row: asyncpg.Record, from_status: Status, event: asyncpg.Record | None) -> Claimed | Unreadable:
    operation = readable(row)
    if operation is None:
        return Unreadable(row["id"], Phase(row["phase"]), from_status, row["revision"])
    if event is None:
        return Claimed(operation, from_status, None)
    return Claimed(operation, from_status, event["payload"], refunds_told=bool(event["refunds_told"]))


def _entry(wanted: Claim, found: Claimed | Unreadable) -> HistoryEntry:
    was = found.operation if isinstance(found, Claimed) else found
    return claim_entry(was.id, was.phase, found.from_status, was.revision + 1, wanted.id, wanted.worker, wanted.at)
