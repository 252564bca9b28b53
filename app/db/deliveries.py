"""What was delivered and makes no operation: what is known already, what is no payment, what cannot be read.

An event's id is made from what it says, so a redelivery is the same row, and is counted there.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from uuid import UUID

import asyncpg

from app.db import ingest
from app.db.batches import DURABLE
from app.db.ingest import Arrival
from app.db.refunds import add_told
from app.db.tables import EventStatus
from app.saga.model import Operation

KNOWN = "SELECT id, serial, order_id, amount, currency FROM operations WHERE bucket = $1 AND id = ANY($2::uuid[])"

ADD_EVENTS = """
INSERT INTO events (bucket, id, source, delivery_id, external_id, event_type, deliveries, status, detail,
                    operation_serial, received_at, payload)
SELECT $1::smallint, * FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::int[], $8::text[],
                                   $9::text[], $10::uuid[], $11::timestamptz[], $12::bytea[])
    ON CONFLICT (bucket, id) DO UPDATE SET deliveries = events.deliveries + excluded.deliveries
"""

TAKE_OUT = "DELETE FROM events WHERE bucket = $1 AND id = $2 AND status IN ('unprocessable', 'conflict') RETURNING id"

# A redelivery of what this process has stored not long ago.
COUNT_AGAIN = f"""
/* count again */ WITH counted AS (
    UPDATE events AS e
       SET deliveries = e.deliveries + t.times
      FROM unnest($2::uuid[], $3::int[]) AS t(id, times)
     WHERE e.bucket = $1 AND e.id = ANY ($2) AND e.id = t.id
    RETURNING e.id, e.status, e.detail
)
SELECT id, status, detail FROM {DURABLE} LEFT JOIN counted ON true
"""

# A kept event that was read again keeps when it came, and how often.
KEEP_COUNT = "UPDATE events SET deliveries = $3, received_at = $4 WHERE bucket = $1 AND id = $2"


@dataclass(frozen=True, slots=True)
class Stored:
    """What an arrival was found to be."""

    status: EventStatus
    detail: str | None


@dataclass(frozen=True, slots=True)
class _Known:
    """An operation that is there already, and what was said of its payment."""

    serial: UUID
    said: tuple[str, int, str]


ACCEPTED = Stored(EventStatus.ACCEPTED, None)
DUPLICATE = Stored(EventStatus.DUPLICATE, None)


def first_of(arrivals: Sequence[Arrival]) -> dict[UUID, Arrival]:
    """Of each operation that arrivals make if it is new, the arrival that came first; in the order of the operations' ids."""
    first: dict[UUID, Arrival] = {}
    for arrival in arrivals:
        if arrival.operation is not None:
            first.setdefault(arrival.operation.id, arrival)
    return dict(sorted(first.items(), key=itemgetter(0)))


async def store_new(
    connection: asyncpg.Connection, bucket: int, transition: UUID, arrivals: Sequence[Arrival], *, resent: bool
) -> None:
    """Stores, of a batch of one bucket, what payments make that are not known; each arrival then knows whether it has.

    Args:
        transition, resent: as `ingest.store` takes them.
    """
    first = first_of(arrivals)
    made = await ingest.store(connection, bucket, transition, list(first.values()), resent=resent) if first else set()
    for arrival in arrivals:
        arrival.made = False  # an earlier try, which was rolled back, may have said so
    for id_ in made:
        first[id_].made = True


async def store_others(connection: asyncpg.Connection, bucket: int, arrivals: Sequence[Arrival]) -> list[Stored]:
    """Stores the events of a batch of one bucket that have made no operation; what each arrival was found to be, in order."""
    asked = {one.operation.id for one in arrivals if one.operation is not None and not one.made}
    known = await _known(connection, bucket, sorted(asked))
    found = [_found(arrival, known) for arrival in arrivals]
    others = [(arrival, stored) for arrival, stored in zip(arrivals, found, strict=True) if not arrival.made]
    if others:
        await _add_events(connection, bucket, others, known)
    told = [refund for arrival in arrivals for refund in arrival.refunds]
    if told:
        await add_told(connection, told)
    return found


async def store_again(
    connection: asyncpg.Connection, old_bucket: int, transition: UUID, arrival: Arrival, *, resent: bool
) -> Stored | None:
    """Stores a kept event as it reads now, under its own id, in the bucket of its operation; None where it is gone.

    It is taken out and put in again in one transaction, since the operation it now belongs to may be in another bucket.
    """
    if await connection.fetchval(TAKE_OUT, old_bucket, arrival.id) is None and not resent:
        return None
    await store_new(connection, arrival.bucket, transition, [arrival], resent=resent)
    [stored] = await store_others(connection, arrival.bucket, [arrival])
    await connection.execute(KEEP_COUNT, arrival.bucket, arrival.id, arrival.deliveries, arrival.received_at)
    return stored


async def count_again(connection: asyncpg.Connection, bucket: int, ids: Sequence[UUID]) -> dict[UUID, Stored]:
    """Counts redeliveries of events of one bucket; returns what those that are there were found to be."""
    times = Counter(ids)
    rows = await connection.fetch(COUNT_AGAIN, bucket, list(times), list(times.values()))
    return {row["id"]: _again(row) for row in rows if row["id"] is not None}


def _again(row: asyncpg.Record) -> Stored:
    return DUPLICATE if row["status"] == EventStatus.ACCEPTED else Stored(EventStatus(row["status"]), row["detail"])


async def _known(connection: asyncpg.Connection, bucket: int, ids: Sequence[UUID]) -> dict[UUID, _Known]:
    if not ids:
        return {}
    rows = await connection.fetch(KNOWN, bucket, ids)
    return {row["id"]: _Known(row["serial"], (row["order_id"], row["amount"], row["currency"])) for row in rows}


def _found(arrival: Arrival, known: Mapping[UUID, _Known]) -> Stored:
    operation = arrival.operation
    if operation is None:
        return Stored(arrival.status, arrival.detail)
    if arrival.made:
        return ACCEPTED
    stored, said = known[operation.id].said, _said(operation)
    return DUPLICATE if stored == said else Stored(EventStatus.CONFLICT, _difference(stored, said))


def _said(operation: Operation) -> tuple[str, int, str]:
    return operation.order_id, operation.amount, operation.currency


def _difference(stored: tuple[str, int, str], said: tuple[str, int, str]) -> str:
    names = ("order", "amount", "currency")
    parts = [f"{name}: {old}, not {new}" for name, old, new in zip(names, stored, said, strict=True) if old != new]
    return "the payment is known with another " + "; another ".join(parts)


async def _add_events(
    connection: asyncpg.Connection,
    bucket: int,
    arrivals: Sequence[tuple[Arrival, Stored]],
    known: Mapping[UUID, _Known],
) -> None:
    """Adds the events; what was delivered before, or twice in this batch, is counted."""
    rows: dict[UUID, tuple[Arrival, Stored, int]] = {}
    for arrival, stored in arrivals:
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
            None if arrival.operation is None else known[arrival.operation.id].serial,
            arrival.received_at,
            arrival.payload,
        )
        for arrival, stored, deliveries in ordered
    ]
    await connection.execute(ADD_EVENTS, bucket, *[list(column) for column in zip(*columns, strict=True)])
