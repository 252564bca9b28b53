"""The writers side by side: each stream of writes has its connection and its group commit.

    ingest   what was delivered                      claim      what is due, taken under a lease
    begin    a call is about to go out               heartbeat  leases are renewed
    record   an answer and what follows from it

Begin before the call, record after it, no transaction open between them: the two halves of the atomic phase.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar
from uuid import UUID

import asyncpg

from app.clock import Clock
from app.db import operations
from app.db.batch import GroupCommit
from app.db.batches import by_bucket
from app.db.claim import BeginWith, Claim, Claimed, claim, nothing_begun
from app.db.decisions import Decision, is_one_statement, record_decisions
from app.db.deliveries import Stored
from app.db.ingest import Arrival
from app.db.journal import AttemptEnd, AttemptStart
from app.db.operations import Begun, Expired, HeldLease
from app.db.operator_requests import OperatorReceipt
from app.db.reception import Reception
from app.db.rows import bucket_of
from app.db.writer import Writer
from app.ids import fresh
from app.saga.model import Operation, Transition

# Rows in one flush. Past a few hundred a batch takes longer without a row in it getting cheaper.
MOST_BEGUN = 500
MOST_RECORDED = 500

Row = TypeVar("Row")


class Store:
    """The one door to the operations.

    Args:
        url: of the database.
        buckets: the database's bucket count.
        clock: the database's clock.
    """

    def __init__(self, url: str, buckets: int, clock: Clock) -> None:
        self.buckets = buckets
        self._clock = clock
        self._writers = {
            name: Writer(url) for name in ("ingest", "begin", "record", "claim", "claim beside", "heartbeat")
        }
        self._reception = Reception(self._writers["ingest"], buckets)
        # What is delivered has a house of its own.
        self.ingest_all = self._reception.ingest_all
        self.ingest_again = self._reception.ingest_again
        self.redelivered = self._reception.redelivered
        self._begin = GroupCommit(self._writers["begin"], self._flush_begin, most=MOST_BEGUN)
        self._record = GroupCommit(
            self._writers["record"], self._flush_record, most=MOST_RECORDED, key=lambda item: item.operation_id
        )

    async def close(self) -> None:
        """Writes what is waiting, then closes the connections."""
        for group in (self._reception, self._begin, self._record):
            await group.close()
        for writer in self._writers.values():
            await writer.close()

    async def ingest(self, arrival: Arrival) -> Stored:
        """Stores an event, and the operation that it makes if its payment is new. Raises as `ingest_all`."""
        return (await self.ingest_all([arrival]))[0]

    async def begin(self, operation: Operation, start: AttemptStart) -> bool:
        """Puts a call on record before it goes out; whether the operation is still ours. Raises DatabaseUnavailable."""
        return await self._begin.submit(Begun(operation, start))

    async def record(
        self,
        transition: Transition,
        *,
        actor: str,
        note: str | None = None,
        attempt: AttemptEnd | None = None,
        expired_before: datetime | None = None,
        receipt: OperatorReceipt | None = None,
        at: datetime | None = None,
        id: UUID | None = None,
    ) -> bool:
        """Writes a decision if the operation is still the one it was made on; whether it has landed.

        Where it has not, the caller loads the operation and decides again.

        Args:
            at: when it was decided, where the caller has told that already.
            id: of the decision; a caller that writes it again after `DatabaseUnavailable` gives the same one each time,
                and so learns of a try that had landed.

        Raises:
            DatabaseUnavailable: it may or may not be written.
        """
        decision = Decision(
            id=id or fresh(),
            operation_id=transition.before.id,
            serial=transition.before.serial,
            at=at or self._clock.now(),
            transition=transition,
            actor=actor,
            note=note,
            attempt=attempt,
            expired_before=expired_before,
            receipt=receipt,
        )
        return await self._record.submit(decision)

    async def end_attempt(self, operation: Operation, attempt: AttemptEnd) -> None:
        """Stores the end of a call that decides nothing any more. Raises DatabaseUnavailable."""
        at = self._clock.now()
        await self._record.submit(
            Decision(fresh(), operation.id, operation.serial, at, None, actor="", attempt=attempt)
        )

    async def claim(self, wanted: Claim, begin_with: BeginWith = nothing_begun, claimer: int = 0) -> list[Claimed]:
        """Takes what is due in one bucket.

        Args:
            begin_with: prepares the calls that go on record with the claim. It may be asked about an operation a second
                time, where the first try broke: only its last word was written.
            claimer: by which of two connections; two claims may be under way side by side.

        Raises:
            DatabaseUnavailable: nothing may be taken, or it lies under its lease until that ends.
        """

        async def work(connection: asyncpg.Connection, resent: bool) -> list[Claimed]:
            return await claim(connection, wanted, begin_with, resent=resent)

        return await self._writers["claim beside" if claimer else "claim"].transaction(work)

    async def heartbeat(self, leases: Sequence[HeldLease], leased_until: datetime) -> dict[HeldLease, bool]:
        """Moves the end of leases on; returns those that still hold, and of each whether its end was moved on.

        Raises:
            DatabaseUnavailable: they may or may not have been renewed.
        """

        async def work(connection: asyncpg.Connection, _resent: bool) -> dict[HeldLease, bool]:
            kept: dict[HeldLease, bool] = {}
            for bucket, part in self._by_bucket(leases, lambda lease: (lease.serial, lease.operation_id)):
                kept |= await operations.heartbeat(connection, bucket, part, leased_until)
            return kept

        return await self._writers["heartbeat"].transaction(work)

    async def expired(self, bucket: int, most: int, after: Expired | None = None) -> Expired:
        """Operations of a bucket whose lease has run out, the page behind `after`. Raises DatabaseUnavailable."""

        async def work(connection: asyncpg.Connection, _resent: bool) -> Expired:
            return await operations.expired(connection, bucket, self._clock.now(), most, after)

        return await self._writers["claim"].transaction(work, alone=True)

    async def load(self, operation_id: UUID) -> Operation | None:
        """The operation as it is stored, or None. Raises DatabaseUnavailable."""

        async def work(connection: asyncpg.Connection, _resent: bool) -> Operation | None:
            return await operations.load(connection, bucket_of(operation_id, self.buckets), operation_id)

        return await self._writers["claim"].transaction(work, alone=True)

    def _by_bucket(
        self, items: Sequence[Row], ids_of: Callable[[Row], tuple[UUID, UUID]]
    ) -> list[tuple[int, list[Row]]]:
        """The items by bucket, and in the order of their serials: the order in which rows are locked everywhere.

        Args:
            ids_of: the serial and the id of an item's operation.
        """
        ordered = sorted(items, key=lambda item: ids_of(item)[0])
        return by_bucket(ordered, lambda item: bucket_of(ids_of(item)[1], self.buckets))

    async def _flush_begin(self, writer: Writer, begun: Sequence[Begun]) -> list[bool]:
        parts = self._by_bucket(begun, lambda one: (one.operation.serial, one.operation.id))

        async def work(connection: asyncpg.Connection, _resent: bool) -> set[UUID]:
            return set().union(*[await operations.begin(connection, bucket, part) for bucket, part in parts])

        ours = await writer.transaction(work, alone=len(parts) == 1)
        return [one.operation.id in ours for one in begun]

    async def _flush_record(self, writer: Writer, decisions: Sequence[Decision]) -> list[bool]:
        parts = self._by_bucket(decisions, lambda one: (one.serial, one.operation_id))

        async def work(connection: asyncpg.Connection, _resent: bool) -> set[UUID]:
            return set().union(*[await record_decisions(connection, bucket, part) for bucket, part in parts])

        alone = len(parts) == 1 and is_one_statement(decisions)
        landed = await writer.transaction(work, alone=alone)
        return [one.id in landed for one in decisions]
