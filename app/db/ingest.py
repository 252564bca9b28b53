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

from app.db.batches import DURABLE, Kinds, ids_of
from app.db.journal import written
from app.db.operations import Begun
from app.db.refunds import Told
from app.db.rows import steps_json, storable_json
from app.db.tables import EventStatus
from app.saga.model import Operation

# $2 to $9 are the kinds, by their numbers. An operation whose call is known is taken by the transaction which stores it:
# it has a lease from the beginning, and the history of its claim.
STORE = f"""
/* store */ WITH t AS (
    SELECT *
      FROM unnest($10::uuid[], $11::uuid[], $12::uuid[], $13::int[], $14::text[], $15::text[], $16::bigint[],
                  $17::timestamptz[], $18::bytea[], $19::text[], $20::timestamptz[], $21::text[], $22::text[],
                  $23::timestamptz[], $24::timestamptz[], $25::text[], $26::text[])
           AS t(id, serial, event_id, kind, external_id, order_id, amount, at, payload, delivery_id, occurred_at,
                traceparent, steps, taken_at, leased_until, key, request)
), made AS (
    INSERT INTO operations (bucket, id, serial, source, external_id, order_id, amount, currency, saga, saga_hash,
                            event_id, phase, status, step, action, attempt, revision, lease, next_run_at, complete_by,
                            leased_until, locked_by, last_run_at, deadline, occurred_at, steps, traceparent,
                            transition, created_at, updated_at)
    SELECT $1::smallint, id, serial, ($2::text[])[kind], external_id, order_id, amount, ($3::text[])[kind],
           ($4::text[])[kind], ($5::text[])[kind], event_id, 'purchase', CASE WHEN taken_at IS NULL THEN 'pending' ELSE 'processing' END,
           ($6::text[])[kind], 'do', (taken_at IS NOT NULL)::int, 1 + (taken_at IS NOT NULL)::int,
           (taken_at IS NOT NULL)::int, CASE WHEN taken_at IS NULL THEN at END, leased_until, leased_until,
           CASE WHEN taken_at IS NOT NULL THEN $27 END, taken_at, at + ($7::interval[])[kind], occurred_at,
           coalesce(steps, ($9::text[])[kind])::json, traceparent, $28::uuid, at, coalesce(taken_at, at)
      FROM t
        ON CONFLICT DO NOTHING
    RETURNING id, serial AS made_as, source, created_at, next_run_at, complete_by
), queued AS (
    INSERT INTO queue (bucket, operation_serial, next_run_at, complete_by)
    SELECT $1, made_as, next_run_at, complete_by
      FROM made
), heard AS (
    INSERT INTO events (bucket, id, source, delivery_id, external_id, event_type, deliveries, status, operation_id,
                        received_at, payload)
    SELECT $1, event_id, source, delivery_id, external_id, ($8::text[])[kind], 1, 'accepted', id, at, payload
      FROM t JOIN made USING (id)
        ON CONFLICT (bucket, id) DO UPDATE SET deliveries = events.deliveries + excluded.deliveries
), past AS (
    INSERT INTO history (bucket, operation_serial, revision, transition, from_phase, from_status, to_phase, to_status,
                         cause, actor, at)
    SELECT $1, made_as, 1, $28, NULL, NULL, 'purchase', 'pending', 'payment_received', 'source:' || source, created_at
      FROM made
     UNION ALL
    SELECT $1, serial, 2, $28, 'purchase', 'pending', 'purchase', 'processing', 'claimed', $27, taken_at
      FROM t JOIN made USING (id)
     WHERE taken_at IS NOT NULL
), begun AS (
    INSERT INTO attempts (bucket, operation_serial, lease, step, action, attempt, idempotency_key, worker, request,
                          started_at)
    SELECT $1, serial, 1, ($6::text[])[kind], 'do', 1, key, $27, request::json, taken_at
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
    rows = await connection.fetch(STORE, bucket, *columns(arrivals), worker, transition)
    made = ids_of(rows)
    if resent:
        tried = {one.operation.serial: one.operation.id for one in arrivals if one.operation is not None}
        ours = await written(connection, bucket, [(serial, 1, transition) for serial in tried])
        made |= {tried[serial] for serial in ours}
    return made


def columns(arrivals: Sequence[Arrival]) -> list[Sequence[object] | None]:
    """What `STORE` takes between the bucket and the worker: the kinds of payments by columns, then the payments."""
    kinds = Kinds()
    rows = [_row(arrival, operation, kinds) for arrival in arrivals if (operation := arrival.operation) is not None]
    return kinds.columns(rows)


def _row(arrival: Arrival, operation: Operation, kinds: Kinds) -> tuple[object, ...]:
    begun = None if arrival.start is None else arrival.start.begun
    start = None if begun is None else begun.start
    kind = kinds.number(
        (
            operation.source,
            operation.currency,
            operation.saga,
            operation.saga_hash,
            operation.step,
            operation.deadline - operation.created_at,
            arrival.event_type,
            _new_steps(operation),
        )
    )
    return (
        operation.id,
        operation.serial,
        arrival.id,
        kind,
        operation.external_id,
        operation.order_id,
        operation.amount,
        operation.created_at,
        arrival.payload,
        arrival.delivery_id,
        operation.occurred_at,
        operation.traceparent,
        None if begun is None else steps_json(begun.operation.steps),
        None if begun is None else begun.operation.last_run_at,
        None if begun is None else begun.operation.complete_by,
        None if start is None else start.key,
        None if start is None else storable_json(start.request),
    )


def _new_steps(operation: Operation) -> str:
    """The steps of a new operation as JSON; those of one saga are all alike."""
    known = _NEW_STEPS.get(operation.saga_hash)
    if known is None:
        known = _NEW_STEPS[operation.saga_hash] = steps_json(operation.steps)
    return known
