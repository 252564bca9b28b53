"""A decision on its way through the door: the fenced update, and all that belongs to it in the same transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from app.db import journal, operations
from app.db.journal import AttemptEnd, HistoryEntry
from app.db.operations import Change
from app.db.operator_requests import OperatorReceipt, add_receipts
from app.saga.model import Operation, Outcome, Transition


@dataclass(frozen=True, slots=True)
class Decision:
    """What `record` writes: a decision, the end of an attempt, or both, in one transaction.

    Args:
        expired_before: the decision holds only if the lease has run out by then (a heartbeat may have come since).
        receipt: the stored answer of an operator's call.
    """

    id: UUID
    operation_id: UUID
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
    changes = [Change(bucket, move.after, move.before.lease, one.id, one.at, one.expired_before) for one, move in moves]
    won = await operations.record(connection, bucket, changes) if changes else set()
    winners = [(one, move) for one, move in moves if one.operation_id in won]
    if winners:
        await journal.add_history(connection, bucket, [_entry(one, move) for one, move in winners])
    lost = [(one.operation_id, move.after.revision, one.id) for one, move in moves if one.operation_id not in won]
    already = await journal.written(connection, bucket, lost) if lost else set()
    landed = [one for one in decisions if one.transition is None or one.operation_id in won | already]
    ends = [(one.operation_id, one.attempt) for one in landed if one.attempt is not None]
    if ends:
        await journal.end_attempts(connection, bucket, ends)
    # What has landed at an earlier try has its receipt: added again, it would look like another's.
    receipts = [one.receipt for one in landed if one.receipt is not None and one.operation_id not in already]
    if receipts:
        await add_receipts(connection, receipts, decisions[0].at)
    return {one.id for one in landed}


def crashed(operation: Operation, at: datetime) -> AttemptEnd:
    """The end of the call of a lease that ran out; it gives way to an answer that comes late."""
    return AttemptEnd(operation.lease, Outcome.CRASHED, None, at)


def _entry(decision: Decision, transition: Transition) -> HistoryEntry:
    before, after = transition.before, transition.after
    return HistoryEntry(
        operation_id=after.id,
        revision=after.revision,
        transition=decision.id,
        before=(before.phase, before.status),
        after=(after.phase, after.status),
        cause=transition.cause,
        actor=decision.actor,
        at=decision.at,
        note=decision.note,
    )
