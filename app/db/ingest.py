"""Stores what was delivered: the event, and the operation that a payment heard of for the first time makes.

A payment's operation has the payment's identity for its primary key, so the key decides who was first. The insert does
nothing where the row is known, and what is known is read in a second statement: at READ COMMITTED that one sees the
row which won the race, where a single statement would see neither.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

import asyncpg

from app.db.journal import HistoryEntry, add_history, claim_entry, open_attempts, written
from app.db.operations import Begun
from app.db.refunds import Told, add_told
from app.db.rows import steps_json
from app.db.tables import EventStatus
from app.saga.model import Operation

# An operation that is taken by the transaction which stores it has a lease from the beginning.
ADD_OPERATIONS = """
INSERT INTO operations (bucket, id, source, external_id, order_id, amount, currency, saga, saga_hash, event_id, phase,
                        status, step, action, attempt, revision, lease, next_run_at, complete_by, leased_until,
                        locked_by, last_run_at, deadline, occurred_at, steps, traceparent, transition, created_at,
                        updated_at)
SELECT $1::smallint, t.id, t.source, t.external_id, t.order_id, t.amount, t.currency, t.saga, t.saga_hash, t.event_id,
       'purchase', t.status, t.step, 'do', t.lease, t.revision, t.lease, t.next_run_at, t.complete_by, t.complete_by,
       t.locked_by, t.last_run_at, t.deadline, t.occurred_at, t.steps::json, t.traceparent, t.transition, t.at, t.updated_at
  FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::text[], $9::text[],
              $10::uuid[], $11::text[], $12::text[], $13::int[], $14::int[], $15::timestamptz[], $16::timestamptz[],
              $17::text[], $18::timestamptz[], $19::timestamptz[], $20::timestamptz[], $21::timestamptz[], $22::text[],
              $23::text[], $24::uuid[], $25::timestamptz[])
       AS t(id, source, external_id, order_id, amount, currency, saga, saga_hash, event_id, step, status, revision,
            lease, next_run_at, complete_by, locked_by, last_run_at, at, deadline, occurred_at, steps, traceparent,
            transition, updated_at)
    ON CONFLICT (bucket, id) DO NOTHING
RETURNING id
"""

KNOWN = "SELECT id, order_id, amount, currency FROM operations WHERE bucket = $1 AND id = ANY($2::uuid[])"

ADD_EVENTS = """
INSERT INTO events (bucket, id, source, delivery_id, external_id, event_type, deliveries, status, detail, operation_id,
                    received_at, payload)
SELECT $1::smallint, * FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::int[], $8::text[],
                                   $9::text[], $10::uuid[], $11::timestamptz[], $12::bytea[])
    ON CONFLICT (bucket, id) DO UPDATE SET deliveries = events.deliveries + excluded.deliveries
"""


TAKE_OUT = "DELETE FROM events WHERE bucket = $1 AND id = $2 AND status IN ('unprocessable', 'conflict') RETURNING id"


class Start(Protocol):
    """The first call of an operation that is taken by the transaction which stores it.

    `begun` has the operation as the claim has made it, with the call on record.
    """

    begun: Begun
    transition: UUID

    def landed(self, *, accepted: bool) -> None:
        """Told once: whether the operation was made by this arrival, so that the call may go out."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """An event as it was read.

    Args:
        id: made from what the event says, so that its redelivery is the same row.
        status: IGNORED or UNPROCESSABLE; for a payment ACCEPTED, which the database may make DUPLICATE or CONFLICT.
        operation: what a payment makes if it is new.
        transition: the id under which the operation's creation is in the history.
        refunds: what it tells of refunds.
        start: its first call, where that goes out as soon as it is stored; None where it has to be claimed.
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
    transition: UUID
    deliveries: int = 1
    refunds: tuple[Told, ...] = ()
    start: Start | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """What an arrival was found to be."""

    status: EventStatus
    detail: str | None


async def store(
    connection: asyncpg.Connection, bucket: int, arrivals: Sequence[Arrival], *, resent: bool
) -> list[Stored]:
    """Stores a batch of one bucket; returns what each arrival was found to be, in order."""
    candidates: dict[UUID, Arrival] = {}
    for arrival in arrivals:
        if arrival.operation is not None:
            candidates.setdefault(arrival.operation.id, arrival)
    made = await _make_operations(connection, bucket, candidates, resent=resent)
    known = await _known(connection, bucket, set(candidates) - made)
    found = [_found(arrival, candidates, made, known) for arrival in arrivals]
    await _add_events(connection, bucket, arrivals, found)
    told = [refund for arrival in arrivals for refund in arrival.refunds]
    if told:
        await add_told(connection, told)
    return found


async def store_again(
    connection: asyncpg.Connection, old_bucket: int, arrival: Arrival, *, resent: bool
) -> Stored | None:
    """Stores a kept event as it reads now, under its own id, in the bucket of its operation; None where it is gone.

    It is taken out and put in again in one transaction, since the operation it now belongs to may be in another bucket.
    """
    if await connection.fetchval(TAKE_OUT, old_bucket, arrival.id) is None and not resent:
        return None
    return (await store(connection, arrival.bucket, [arrival], resent=resent))[0]


async def _make_operations(
    connection: asyncpg.Connection, bucket: int, candidates: dict[UUID, Arrival], *, resent: bool
) -> set[UUID]:
    """Inserts the operations of payments that are not known yet; returns which those were."""
    if not candidates:
        return set()
    ordered = [candidates[id_] for id_ in sorted(candidates)]
    ours = [(arrival, operation) for arrival in ordered if (operation := arrival.operation) is not None]
    rows = await connection.fetch(ADD_OPERATIONS, bucket, *_columns(ours))
    made = {row["id"] for row in rows}
    entries = [entry for arrival, operation in ours if operation.id in made for entry in _history(arrival, operation)]
    if entries:
        await add_history(connection, bucket, entries)
    starts = [arrival.start.begun.start for arrival, operation in ours if arrival.start and operation.id in made]
    if starts:
        await open_attempts(connection, bucket, starts)
    if resent:
        # The first try may have been committed: what it made is ours, not a duplicate.
        made |= await written(
            connection, bucket, [(operation.id, 1, arrival.transition) for arrival, operation in ours]
        )
    return made


def _history(arrival: Arrival, operation: Operation) -> Iterator[HistoryEntry]:
    yield HistoryEntry(
        operation_id=operation.id,
        revision=operation.revision,
        transition=arrival.transition,
        before=None,
        after=(operation.phase, operation.status),
        cause="payment_received",
        actor=f"source:{operation.source}",
        at=operation.created_at,
    )
    if arrival.start is not None:
        taken, worker = arrival.start.begun.operation, arrival.start.begun.start.worker
        yield claim_entry(
            taken.id, taken.phase, operation.status, taken.revision, arrival.start.transition, worker, taken.updated_at
        )


def _columns(creations: Sequence[tuple[Arrival, Operation]]) -> list[list[object]]:
    rows = [_row(arrival, operation) for arrival, operation in creations]
    return [list(column) for column in zip(*rows, strict=True)]


def _row(arrival: Arrival, operation: Operation) -> tuple[object, ...]:
    start = arrival.start
    stored = operation if start is None else start.begun.operation
    return (
        operation.id,
        operation.source,
        operation.external_id,
        operation.order_id,
        operation.amount,
        operation.currency,
        operation.saga,
        operation.saga_hash,
        operation.event_id,
        stored.step,
        stored.status,
        stored.revision,
        stored.lease,
        stored.next_run_at,
        stored.complete_by,
        stored.locked_by,
        stored.last_run_at,
        operation.created_at,
        operation.deadline,
        operation.occurred_at,
        steps_json(stored.steps),
        operation.traceparent,
        arrival.transition if start is None else start.transition,
        stored.updated_at,
    )


async def _known(connection: asyncpg.Connection, bucket: int, ids: set[UUID]) -> dict[UUID, tuple[str, int, str]]:
    if not ids:
        return {}
    rows = await connection.fetch(KNOWN, bucket, sorted(ids))
    return {row["id"]: (row["order_id"], row["amount"], row["currency"]) for row in rows}


def _found(
    arrival: Arrival,
    candidates: dict[UUID, Arrival],
    made: set[UUID],
    known: dict[UUID, tuple[str, int, str]],
) -> Stored:
    operation = arrival.operation
    if operation is None:
        return Stored(arrival.status, arrival.detail)
    first = candidates[operation.id]
    if operation.id in made and first is arrival:
        return Stored(EventStatus.ACCEPTED, None)
    stored = known.get(operation.id) or _said(first.operation or operation)
    if stored == _said(operation):
        return Stored(EventStatus.DUPLICATE, None)
    return Stored(EventStatus.CONFLICT, _difference(stored, _said(operation)))


def _said(operation: Operation) -> tuple[str, int, str]:
    return operation.order_id, operation.amount, operation.currency


def _difference(stored: tuple[str, int, str], said: tuple[str, int, str]) -> str:
    names = ("order", "amount", "currency")
    parts = [f"{name}: {old}, not {new}" for name, old, new in zip(names, stored, said, strict=True) if old != new]
    return "the payment is known with another " + "; another ".join(parts)


async def _add_events(
    connection: asyncpg.Connection, bucket: int, arrivals: Sequence[Arrival], found: Sequence[Stored]
) -> None:
    """Adds the events; what was delivered before, or twice in this batch, is counted."""
    rows: dict[UUID, tuple[Arrival, Stored, int]] = {}
    for arrival, stored in zip(arrivals, found, strict=True):
        if arrival.id in rows:
            first, as_found, deliveries = rows[arrival.id]
            rows[arrival.id] = (first, as_found, deliveries + arrival.deliveries)
        else:
            rows[arrival.id] = (arrival, stored, arrival.deliveries)
    ordered = [rows[id] for id in sorted(rows)]
    columns = [
        (
            arrival.id,
            arrival.source,
            arrival.delivery_id,
            arrival.external_id,
            arrival.event_type,
            deliveries,
            stored.status,
            stored.detail,
            None if arrival.operation is None else arrival.operation.id,
            arrival.received_at,
            arrival.payload,
        )
        for arrival, stored, deliveries in ordered
    ]
    await connection.execute(ADD_EVENTS, bucket, *[list(column) for column in zip(*columns, strict=True)])
