"""A decision on its way through the door: the fenced update, and all that belongs to it in the same transaction.

The fence: it lands only where the row is still at the revision, the lease and the last call that the decision was made
on. A call's going out is no revision, but a cancel that was decided on just before it would forget that it is out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from app.db import journal
from app.db.batches import DURABLE, ids_of
from app.db.journal import AttemptEnd
from app.db.operator_requests import OperatorReceipt, add_receipts
from app.db.rows import last_error_json, steps_json, storable_json
from app.saga.model import Operation, Outcome, Transition

# A call that was counted as crashed may still be answered: the answer wins, the crash never does.
# Joined with the changes, the attempts were read, or the changes gone through, once for each of them: all of those are rows of
# a CTE, and the planner takes them for one. So an attempt looks for its change by itself.
# $3 are the serials of $2.
_OWN = "(($2::decision[])[array_position($3, a.operation_serial)])"
RECORD = f"""
/* record */ WITH t AS (
    SELECT *
      FROM unnest($2::decision[])
), moved AS (
    UPDATE operations AS o
       SET phase = t.phase, status = t.status, reason = t.reason, held_reason = t.held_reason, step = t.step,
           action = t.action, attempt = t.attempt, revision = t.revision + 1, lease = t.next_lease,
           next_run_at = t.next_run_at, complete_by = t.complete_by, locked_by = t.locked_by,
           leased_until = CASE WHEN t.status = 'processing' THEN o.leased_until END,
           deadline = coalesce(t.deadline, o.deadline), cancel_requested_at = t.cancel_requested_at,
           last_error = t.last_error, steps = t.steps, transition = t.transition, updated_at = t.at,
           finished_at = t.finished_at
      FROM t
     WHERE o.bucket = $1 AND o.serial = ANY ($3::uuid[]) AND o.serial = t.serial AND o.revision = t.revision AND o.lease = t.lease
       AND o.last_run_at IS NOT DISTINCT FROM t.last_run_at
       AND (t.expired_before IS NULL OR o.leased_until <= t.expired_before)
    RETURNING o.serial, o.next_run_at, o.complete_by
), queued AS (
    INSERT INTO queue (bucket, operation_serial, next_run_at, complete_by)
    SELECT $1::smallint, serial, next_run_at, complete_by
      FROM moved
     WHERE coalesce(next_run_at, complete_by) IS NOT NULL
        ON CONFLICT (bucket, operation_serial) DO UPDATE
       SET next_run_at = excluded.next_run_at, complete_by = excluded.complete_by
), over AS (
    DELETE FROM queue
     WHERE bucket = $1
       AND operation_serial = ANY (ARRAY(SELECT serial FROM moved WHERE coalesce(next_run_at, complete_by) IS NULL))
), past AS (
    INSERT INTO history (bucket, operation_serial, revision, transition, from_phase, from_status, to_phase, to_status,
                         cause, actor, at, note)
    SELECT $1, serial, revision + 1, transition, from_phase, from_status, phase, status, cause, actor, at, note
      FROM t JOIN moved USING (serial)
), ended AS (
    UPDATE attempts AS a
       SET outcome = {_OWN}.outcome, response = {_OWN}.response, finished_at = {_OWN}.ended_at
     WHERE a.bucket = $1 AND a.operation_serial = ANY (ARRAY(SELECT serial FROM moved))
       AND a.lease = {_OWN}.ended
       AND (a.outcome IS NULL OR (a.outcome = 'crashed' AND {_OWN}.outcome <> 'crashed'))
)
SELECT serial AS id FROM {DURABLE} LEFT JOIN moved ON true
"""


@dataclass(slots=True)
class Decision:
    """What `record` writes: a decision, the end of an attempt, or both, in one transaction.

    Args:
        expired_before: the decision holds only if the lease has run out by then (a heartbeat may have come since).
        receipt: the stored answer of an operator's call.
    """

    id: UUID
    operation_id: UUID
    serial: UUID
    at: datetime
    transition: Transition | None
    actor: str
    note: str | None = None
    attempt: AttemptEnd | None = None
    expired_before: datetime | None = None
    receipt: OperatorReceipt | None = None


async def record_decisions(connection: asyncpg.Connection, bucket: int, decisions: Sequence[Decision]) -> set[UUID]:
    """Writes decisions of one bucket and what belongs to those that land; returns the ids of the decisions that did.

    One that loses may have landed at an earlier try whose commit broke on the wire. It is asked for after the update:
    that has waited for an earlier try which was still at its commit.
    """
    moves = [(one, one.transition) for one in decisions if one.transition is not None]
    won = await _move(connection, bucket, moves) if moves else set()
    lost = [(one.serial, move.after.revision, one.id) for one, move in moves if one.serial not in won]
    already = await journal.written(connection, bucket, lost) if lost else set()
    ends = [(one.serial, one.attempt) for one in decisions if one.transition is None and one.attempt is not None]
    if ends:
        await journal.end_attempts(connection, bucket, ends)
    # What has landed at an earlier try has its receipt: added again, it would look like another's.
    receipts = [one.receipt for one in decisions if one.receipt is not None and one.serial in won]
    if receipts:
        await add_receipts(connection, receipts, decisions[0].at)
    landed = won | already
    return {one.id for one in decisions if one.transition is None or one.serial in landed}


def is_one_statement(decisions: Sequence[Decision]) -> bool:
    """Whether decisions of one bucket are written by one statement."""
    return all(one.transition is not None and one.receipt is None for one in decisions)


def crashed(operation: Operation, at: datetime) -> AttemptEnd:
    """The end of the call of a lease that ran out; it gives way to an answer that comes late."""
    return AttemptEnd(operation.lease, Outcome.CRASHED, None, at)


async def _move(connection: asyncpg.Connection, bucket: int, moves: Sequence[tuple[Decision, Transition]]) -> set[UUID]:
    return ids_of(await connection.fetch(RECORD, bucket, *rows_of(moves)))


def rows_of(moves: Sequence[tuple[Decision, Transition]]) -> tuple[list[tuple[object, ...]], list[UUID]]:
    """Changes as `RECORD` takes them, and their serials."""
    return [_row(decision, move) for decision, move in moves], [move.after.serial for _, move in moves]


def _row(decision: Decision, move: Transition) -> tuple[object, ...]:
    """A `decision` of the database's types, in the order in which that has its columns."""
    before, after, end = move.before, move.after, decision.attempt
    return (
        after.serial,
        before.revision,
        before.lease,
        after.lease,
        before.phase,
        before.status,
        after.phase,
        after.status,
        after.reason,
        after.held_reason,
        after.step,
        after.action,
        after.attempt,
        after.locked_by,
        move.cause,
        decision.actor,
        decision.id,
        steps_json(after.steps),
        decision.at,
        after.last_run_at,
        after.next_run_at,
        after.complete_by,
        None if after.deadline == before.deadline else after.deadline,
        after.cancel_requested_at,
        after.finished_at,
        last_error_json(after.last_error),
        decision.note,
        decision.expired_before,
        None if end is None else end.lease,
        None if end is None else end.outcome,
        None if end is None or end.response is None else storable_json(end.response),
        None if end is None else end.at,
    )
