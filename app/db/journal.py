"""The journal: each call out (attempts) and each change (history). Only ever added to, and a call's end filled in."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from app.db.batches import ids_of
from app.db.rows import storable_json
from app.saga.model import Action, Json, Outcome

WRITTEN = """
SELECT h.operation_serial AS id
  FROM history AS h
  JOIN unnest($2::uuid[], $3::int[], $4::uuid[]) AS t(serial, revision, transition)
    ON h.operation_serial = t.serial AND h.revision = t.revision AND h.transition = t.transition
 WHERE h.bucket = $1 AND h.operation_serial = ANY ($2)
"""

# A call that was counted as crashed may still be answered: the answer wins, the crash never does.
END_ATTEMPTS = """
UPDATE attempts AS a
   SET outcome = t.outcome, response = t.response::json, finished_at = t.at
  FROM unnest($2::uuid[], $3::int[], $4::text[], $5::text[], $6::timestamptz[]) AS t(serial, lease, outcome, response, at)
 WHERE a.bucket = $1 AND a.operation_serial = ANY ($2) AND a.operation_serial = t.serial AND a.lease = t.lease
   AND (a.outcome IS NULL OR (a.outcome = 'crashed' AND t.outcome <> 'crashed'))
"""


@dataclass(slots=True)
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


@dataclass(slots=True)
class AttemptEnd:
    """How a call ended. `response` is {"status", "body"}, or None where there was none."""

    lease: int
    outcome: Outcome
    response: Json
    at: datetime


def told(start: AttemptStart) -> tuple[object, ...]:
    """A call as the types `begun` and `claimed` of the database have its columns, one after the other."""
    return start.step, start.action, start.attempt, start.key, storable_json(start.request), start.at


async def written(
    connection: asyncpg.Connection, bucket: int, transitions: Sequence[tuple[UUID, int, UUID]]
) -> set[UUID]:
    """Which of these (serial of the operation, revision, transition) are in the history already, by their serials.

    Asked where a write is sent again.
    """
    rows = await connection.fetch(
        WRITTEN,
        bucket,
        [serial for serial, _, _ in transitions],
        [revision for _, revision, _ in transitions],
        [transition for _, _, transition in transitions],
    )
    return ids_of(rows)


async def end_attempts(connection: asyncpg.Connection, bucket: int, ends: Sequence[tuple[UUID, AttemptEnd]]) -> None:
    """Fills in how calls ended, by the serials of their operations."""
    await connection.execute(
        END_ATTEMPTS,
        bucket,
        [serial for serial, _ in ends],
        [end.lease for _, end in ends],
        [end.outcome for _, end in ends],
        [None if end.response is None else storable_json(end.response) for _, end in ends],
        [end.at for _, end in ends],
    )
