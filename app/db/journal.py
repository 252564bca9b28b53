"""The journal: each call out (attempts) and each change (history). Only ever added to, and a call's end filled in."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from app.db.rows import storable_json
from app.saga.model import Action, Json, Outcome, Phase, Status

ADD_HISTORY = """
INSERT INTO history (bucket, operation_id, revision, transition, from_phase, from_status, to_phase, to_status, cause,
                     actor, at, note)
SELECT $1::smallint, * FROM unnest($2::uuid[], $3::int[], $4::uuid[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
                         $10::text[], $11::timestamptz[], $12::text[])
    ON CONFLICT (bucket, operation_id, revision) DO NOTHING
"""

WRITTEN = """
SELECT h.operation_id
  FROM history AS h
  JOIN unnest($2::uuid[], $3::int[], $4::uuid[]) AS t(id, revision, transition)
    ON h.operation_id = t.id AND h.revision = t.revision AND h.transition = t.transition
 WHERE h.bucket = $1 AND h.operation_id = ANY ($2)
"""

OPEN_ATTEMPTS = """
INSERT INTO attempts (bucket, operation_id, lease, step, action, attempt, idempotency_key, worker, request, started_at)
SELECT $1::smallint, t.id, t.lease, t.step, t.action, t.attempt, t.key, t.worker, t.request::json, t.at
  FROM unnest($2::uuid[], $3::int[], $4::text[], $5::text[], $6::int[], $7::text[], $8::text[], $9::text[],
              $10::timestamptz[]) AS t(id, lease, step, action, attempt, key, worker, request, at)
    ON CONFLICT (bucket, operation_id, lease) DO NOTHING
"""

# A call that was counted as crashed may still be answered: the answer wins, the crash never does.
END_ATTEMPTS = """
UPDATE attempts AS a
   SET outcome = t.outcome, response = t.response::json, finished_at = t.at
  FROM unnest($2::uuid[], $3::int[], $4::text[], $5::text[], $6::timestamptz[]) AS t(id, lease, outcome, response, at)
 WHERE a.bucket = $1 AND a.operation_id = ANY ($2) AND a.operation_id = t.id AND a.lease = t.lease
   AND (a.outcome IS NULL OR (a.outcome = 'crashed' AND t.outcome <> 'crashed'))
"""


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One change of an operation."""

    operation_id: UUID
    revision: int
    transition: UUID
    before: tuple[Phase, Status] | None
    after: tuple[Phase, Status]
    cause: str
    actor: str
    at: datetime
    note: str | None = None


@dataclass(frozen=True, slots=True)
class AttemptStart:
    """A call that is about to go out. `request` is {"method", "url", "body"} with no credentials in it."""

    operation_id: UUID
    lease: int
    step: str
    action: Action
    attempt: int
    key: str | None
    worker: str
    request: Json
    at: datetime


@dataclass(frozen=True, slots=True)
class AttemptEnd:
    """How a call ended. `response` is {"status", "body"}, or None where there was none."""

    lease: int
    outcome: Outcome
    response: Json
    at: datetime


def claim_entry(
    operation_id: UUID, phase: Phase, from_status: Status, revision: int, transition: UUID, worker: str, at: datetime
) -> HistoryEntry:
    """The history of a claim; `revision` is the one it has made."""
    return HistoryEntry(
        operation_id=operation_id,
        revision=revision,
        transition=transition,
        before=(phase, from_status),
        after=(phase, Status.PROCESSING),
        cause="claimed",
        actor=worker,
        at=at,
    )


async def add_history(connection: asyncpg.Connection, bucket: int, entries: Sequence[HistoryEntry]) -> None:
    """Adds one row for each change."""
    await connection.execute(
        ADD_HISTORY,
        bucket,
        [entry.operation_id for entry in entries],
        [entry.revision for entry in entries],
        [entry.transition for entry in entries],
        [entry.before[0] if entry.before else None for entry in entries],
        [entry.before[1] if entry.before else None for entry in entries],
        [entry.after[0] for entry in entries],
        [entry.after[1] for entry in entries],
        [entry.cause for entry in entries],
        [entry.actor for entry in entries],
        [entry.at for entry in entries],
        [entry.note for entry in entries],
    )


async def written(
    connection: asyncpg.Connection, bucket: int, transitions: Sequence[tuple[UUID, int, UUID]]
) -> set[UUID]:
    """Which of these (operation, revision, transition) are in the history already: asked before a write is resent."""
    rows = await connection.fetch(
        WRITTEN,
        bucket,
        [operation for operation, _, _ in transitions],
        [revision for _, revision, _ in transitions],
        [transition for _, _, transition in transitions],
    )
    return {row["operation_id"] for row in rows}


async def open_attempts(connection: asyncpg.Connection, bucket: int, starts: Sequence[AttemptStart]) -> None:
    """Puts calls on record before they go out, with no outcome yet."""
    await connection.execute(
        OPEN_ATTEMPTS,
        bucket,
        [start.operation_id for start in starts],
        [start.lease for start in starts],
        [start.step for start in starts],
        [start.action for start in starts],
        [start.attempt for start in starts],
        [start.key for start in starts],
        [start.worker for start in starts],
        [storable_json(start.request) for start in starts],
        [start.at for start in starts],
    )


async def end_attempts(connection: asyncpg.Connection, bucket: int, ends: Sequence[tuple[UUID, AttemptEnd]]) -> None:
    """Fills in how calls ended."""
    await connection.execute(
        END_ATTEMPTS,
        bucket,
        [operation for operation, _ in ends],
        [end.lease for _, end in ends],
        [end.outcome for _, end in ends],
        [None if end.response is None else storable_json(end.response) for _, end in ends],
        [end.at for _, end in ends],
    )
