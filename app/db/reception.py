"""What is delivered on its way to the disk: what nobody has heard of before, what is known, and what comes again.

Payments that are new are stored by one statement, which is a transaction by itself; what they are not all is looked at after
it, in a transaction of its own: so whoever has made his operation is told so, whatever becomes of the others.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from operator import itemgetter
from typing import Any, TypeVar
from uuid import UUID

import asyncpg

from app.db import deliveries
from app.db.batch import GroupCommit
from app.db.batches import by_bucket
from app.db.deliveries import ACCEPTED, Stored
from app.db.ingest import Arrival
from app.db.rows import bucket_of
from app.db.writer import Writer
from app.errors import DatabaseUnavailable
from app.ids import fresh

# Rows in one flush. Past a few hundred a batch takes longer without a row in it getting cheaper.
MOST_INGESTED = 500

# Seconds. A sender of webhooks gives up after five or more: he is to hear 503 before that, also where the database hangs.
ACKNOWLEDGE_WITHIN = 4.5

Result = TypeVar("Result")


@dataclass(slots=True)
class Delivered:
    """Events that came together.

    Args:
        looked_at: those of them that make operations have made them already.
    """

    arrivals: Sequence[Arrival]
    looked_at: bool


class Reception:
    """The writes of what is delivered.

    Args:
        writer: the connection that all of them go over.
        buckets: the database's bucket count.
    """

    def __init__(self, writer: Writer, buckets: int) -> None:
        self._writer = writer
        self._buckets = buckets
        self._new = GroupCommit(writer, self._flush_new, most=MOST_INGESTED, within=ACKNOWLEDGE_WITHIN)
        self._ingest = GroupCommit(writer, self._flush_ingest, most=MOST_INGESTED, within=ACKNOWLEDGE_WITHIN)
        self._redelivered = GroupCommit(writer, self._flush_redelivered, most=MOST_INGESTED, within=ACKNOWLEDGE_WITHIN)

    async def close(self) -> None:
        """Writes what is waiting."""
        for group in (self._new, self._ingest, self._redelivered):
            await group.close()

    async def ingest_all(self, arrivals: Sequence[Arrival]) -> Sequence[Stored]:
        """Stores events that came together; when this returns all of them are on disk.

        Payments that nobody has heard of before are stored by one statement. Where some are known, their events follow in a
        transaction of their own: if that fails the sender sends all again, and what was new is then known.

        Those of them that have a start are told whether they made their operations, whatever becomes of the caller. One that
        is told no, while its operation was stored too late for us to hear of it, leaves it to its lease.

        Raises:
            DatabaseUnavailable: the database did not take it in `ACKNOWLEDGE_WITHIN` seconds; it may be stored all the same.
        """
        looked_at = all(arrival.operation is not None and not arrival.refunds for arrival in arrivals)
        if looked_at and await _landing(arrivals, lambda: self._new.put(arrivals)):
            return [ACCEPTED] * len(arrivals)
        delivered = Delivered(arrivals, looked_at=looked_at)
        if looked_at:
            return await self._ingest.submit(delivered)
        return await _landing(arrivals, lambda: self._ingest.put(delivered))

    async def redelivered(self, event: UUID, operation_id: UUID) -> Stored | None:
        """Counts a redelivery of an event of an operation; None where it is not there. Raises DatabaseUnavailable."""
        return await self._redelivered.submit((event, operation_id))

    async def ingest_again(self, old_bucket: int, arrival: Arrival) -> Stored | None:
        """Stores a kept event as it reads now; None where somebody else was sooner. Raises DatabaseUnavailable."""
        transition = fresh()

        async def work(connection: asyncpg.Connection, resent: bool) -> Stored | None:
            return await deliveries.store_again(connection, old_bucket, transition, arrival, resent=resent)

        return await self._writer.transaction(work)

    async def _flush_new(self, writer: Writer, groups: Sequence[Sequence[Arrival]]) -> list[bool]:
        parts, transition = _by_bucket(groups), fresh()

        async def work(connection: asyncpg.Connection, resent: bool) -> None:
            for bucket, part in parts:
                await deliveries.store_new(connection, bucket, transition, part, resent=resent)

        await writer.transaction(work, alone=len(parts) == 1)
        return [all(arrival.made for arrival in group) for group in groups]

    async def _flush_ingest(self, writer: Writer, delivered: Sequence[Delivered]) -> list[Sequence[Stored]]:
        transition = fresh()
        parts = _by_bucket([one.arrivals for one in delivered])
        new = _by_bucket([one.arrivals for one in delivered if not one.looked_at])

        async def work(connection: asyncpg.Connection, resent: bool) -> dict[int, Stored]:
            for bucket, part in new:
                await deliveries.store_new(connection, bucket, transition, part, resent=resent)
            found: dict[int, Stored] = {}
            for bucket, part in parts:
                stored = await deliveries.store_others(connection, bucket, part)
                found.update(zip(map(id, part), stored, strict=True))
            return found

        found = await writer.transaction(work)
        return [[found[id(arrival)] for arrival in one.arrivals] for one in delivered]

    async def _flush_redelivered(self, writer: Writer, events: Sequence[tuple[UUID, UUID]]) -> list[Stored | None]:
        ordered = sorted(events, key=itemgetter(0))
        parts = by_bucket(ordered, lambda pair: bucket_of(pair[1], self._buckets))

        async def work(connection: asyncpg.Connection, _resent: bool) -> dict[UUID, Stored]:
            found: dict[UUID, Stored] = {}
            for bucket, part in parts:
                found |= await deliveries.count_again(connection, bucket, [event for event, _ in part])
            return found

        found = await writer.transaction(work, alone=len(parts) == 1)
        return [found.get(event) for event, _ in events]


def _by_bucket(groups: Iterable[Sequence[Arrival]]) -> list[tuple[int, list[Arrival]]]:
    return by_bucket(chain.from_iterable(groups), lambda arrival: arrival.bucket)


async def _landing(arrivals: Sequence[Arrival], put: "Callable[[], asyncio.Future[Result]]") -> Result:
    """Waits for a write, and sees to it that the starts of what arrived are told whether they made their operations."""
    if all(arrival.start is None for arrival in arrivals):
        return await put()
    try:
        written = put()
    except DatabaseUnavailable:
        _tell(arrivals, None)
        raise
    # A caller that is cancelled would cancel what the starts wait for: they would be told no, and it is stored.
    answered = asyncio.shield(written)
    # After the shield, whose caller thereby comes first: its sender is answered before the call goes out.
    written.add_done_callback(partial(_tell, arrivals))
    return await answered


def _tell(arrivals: Sequence[Arrival], written: "asyncio.Future[Any] | None") -> None:
    landed = written is not None and not written.cancelled() and written.exception() is None
    for arrival in arrivals:
        if arrival.start is not None:
            arrival.start.landed(accepted=landed and arrival.made)
