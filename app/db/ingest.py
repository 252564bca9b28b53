"""Stores what was delivered: the event, and the operation that a payment heard of for the first time makes.

A payment's operation has the payment's identity for its primary key, so the key decides who was first. One statement
stores all that is new: the insert does nothing where the row is known, and event, history and first call follow the
rows that it made. What is known is looked at in a second statement (`app.db.deliveries`): at READ COMMITTED that one
sees the row which won the race, where a single statement would see neither.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

import asyncpg

from app.db.batches import DURABLE, ids_of
from app.db.journal import written
from app.db.operations import Begun
from app.db.refunds import Told
from app.db.rows import steps_json, storable_json
from app.db.tables import EventStatus
from app.saga.model import Operation

# An operation whose call is known is taken by the transaction which stores it: it has a lease from the beginning, and the
# history of its claim.
STORE = f"""
/* store */ WITH t AS (
    SELECT *
      FROM unnest($2::arrival[])
), made AS (
    INSERT INTO operations (bucket, id, serial, source, external_id, order_id, amount, currency, saga, saga_hash,
                            phase, status, step, action, attempt, revision, lease, next_run_at, complete_by,
                            leased_until, locked_by, last_run_at, deadline, occurred_at, steps, traceparent,
                            transition, created_at, updated_at)
    SELECT $1::smallint, id, serial, source, external_id, order_id, amount, currency,
           saga, saga_hash, 'purchase', CASE WHEN taken_at IS NULL THEN 'pending' ELSE 'processing' END,
           step, 'do', (taken_at IS NOT NULL)::int, 1 + (taken_at IS NOT NULL)::int,
           (taken_at IS NOT NULL)::int, CASE WHEN taken_at IS NULL THEN at END, leased_until, leased_until,
           CASE WHEN taken_at IS NOT NULL THEN $3 END, taken_at, deadline, occurred_at,
           steps, traceparent, $4::uuid, at, coalesce(taken_at, at)
      FROM t
        ON CONFLICT DO NOTHING
    RETURNING id, serial AS made_as, source, created_at, next_run_at, complete_by
), queued AS (
    INSERT INTO queue (bucket, operation_serial, next_run_at, complete_by)
    SELECT $1, made_as, next_run_at, complete_by
      FROM made
), heard AS (
    INSERT INTO events (bucket, id, source, delivery_id, external_id, event_type, deliveries, status,
                        operation_serial, received_at, payload)
    SELECT $1, event_id, made.source, delivery_id, external_id, event_type, 1, 'accepted', made_as, at, payload
      FROM t JOIN made USING (id)
        ON CONFLICT (bucket, id) DO UPDATE SET deliveries = events.deliveries + excluded.deliveries
), past AS (
    INSERT INTO history (bucket, operation_serial, revision, transition, from_phase, from_status, to_phase, to_status,
                         cause, actor, at)
    SELECT $1, made_as, 1, $4, NULL, NULL, 'purchase', 'pending', 'payment_received', 'source:' || source, created_at
      FROM made
     UNION ALL
    SELECT $1, serial, 2, $4, 'purchase', 'pending', 'purchase', 'processing', 'claimed', $3, taken_at
      FROM t JOIN made USING (id)
     WHERE taken_at IS NOT NULL
), begun AS (
    INSERT INTO attempts (bucket, operation_serial, lease, step, action, attempt, idempotency_key, worker, request,
                          started_at)
    SELECT $1, serial, 1, step, 'do', 1, key, $3, request, taken_at
      FROM t JOIN made USING (id)
     WHERE taken_at IS NOT NULL
)
SELECT id FROM {DURABLE} LEFT JOIN made ON true
"""


_NEW_STEPS: dict[str, str] = {}  # by the hash of the saga; as many as this process has had sagas configured


class Start(Protocol):
    """The first call of an operation that is taken by the transaction which stores it.

    `begun` has the operation as the claim has made it, with the call on record.
    """

    begun: Begun

    def landed(self, *, accepted: bool) -> None:
        """Told once: whether the operation was made by this arrival, so that the call may go out."""


@dataclass(slots=True)
class Arrival:
    """An event as it was read.

    Args:
        id: made from what the event says, so that its redelivery is the same row.
        status: IGNORED or UNPROCESSABLE; for a payment ACCEPTED, which the database may make DUPLICATE or CONFLICT.
        operation: what a payment makes if it is new.
        refunds: what it tells of refunds.
        start: its first call, where that goes out as soon as it is stored; None where it has to be claimed.
        made: whether it has made its operation, once that was tried.
    """

    id: UUID
    bucket: int
    source: str
    delivery_id: str | None
    external_id: str | None
    event_type: str | None
    status: EventStatus
    detail: str | None
    received_at: datetime
    payload: bytes
    operation: Operation | None
    deliveries: int = 1
    refunds: tuple[Told, ...] = ()
    start: Start | None = None
    made: bool = False


async def store(
    connection: asyncpg.Connection, bucket: int, transition: UUID, arrivals: Sequence[Arrival], *, resent: bool
) -> set[UUID]:
    """Stores, of a batch of one bucket, what payments make that are not known yet; returns the ids of what was made.

    Args:
        transition: the id under which what is made is in the history.
        arrivals: each makes an operation, and none of them comes twice.
        resent: an earlier try may have been committed: what that has made is ours as well.
    """
    worker = next((arrival.start.begun.start.worker for arrival in arrivals if arrival.start), None)
    rows = await connection.fetch(STORE, bucket, rows_of(arrivals), worker, transition)
    made = ids_of(rows)
    if resent:
        tried = {one.operation.serial: one.operation.id for one in arrivals if one.operation is not None}
        ours = await written(connection, bucket, [(serial, 1, transition) for serial in tried])
        made |= {tried[serial] for serial in ours}
    return made


def rows_of(arrivals: Sequence[Arrival]) -> list[tuple[object, ...]]:
    """The payments of a batch as `STORE` takes them."""
    return [_row(arrival, operation) for arrival in arrivals if (operation := arrival.operation) is not None]


def _row(arrival: Arrival, operation: Operation) -> tuple[object, ...]:
    """An `arrival` of the database's types, in the order in which that has its columns."""
    steps, taken_at, leased_until, key, request = _new_steps(operation), None, None, None, None
    if arrival.start is not None:
        taken, start = arrival.start.begun.operation, arrival.start.begun.start
        steps, taken_at, leased_until = steps_json(taken.steps), taken.last_run_at, taken.complete_by
        key, request = start.key, storable_json(start.request)
    return (
        operation.id,
        operation.serial,
        operation.source,
        operation.external_id,
        operation.order_id,
        operation.amount,
        operation.currency,
        operation.saga,
        operation.saga_hash,
        operation.step,
        steps,
        operation.deadline,
        operation.occurred_at,
        operation.traceparent,
        operation.created_at,
        arrival.id,
        arrival.event_type,
        arrival.delivery_id,
        arrival.payload,
        taken_at,
        leased_until,
        key,
        request,
    )


def _new_steps(operation: Operation) -> str:
    """The steps of a new operation as JSON; those of one saga are all alike."""
    known = _NEW_STEPS.get(operation.saga_hash)
    if known is None:
        known = _NEW_STEPS[operation.saga_hash] = steps_json(operation.steps)
    return known
