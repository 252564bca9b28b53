"""From a verified delivery to a stored event and, if its payment is new, the operation that will make it good."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol, assert_never
from uuid import UUID

from app.clock import Clock
from app.db.deliveries import Stored
from app.db.engine import AsyncEngine
from app.db.ingest import Arrival, Start
from app.db.reads import event_row
from app.db.refunds import Told, told_of
from app.db.rows import bucket_of
from app.db.sagas import Sagas
from app.db.store import Store
from app.db.tables import EventStatus
from app.db.wakeup import Wakeup
from app.errors import InvalidRequest, NotAllowed, NotFound
from app.identity import digest, event_id, operation_id, payment_event_id, unprocessable_id
from app.ids import serial
from app.providers import Delivery
from app.providers.reading import Ignored, Payment, Reading, Unreadable, read, refund_news, tells_of_refunds
from app.providers.refunds import known_refund
from app.recent import Recent
from app.saga import advance
from app.saga.creation import Heard, blank_of, filled_in
from app.saga.definition import Saga
from app.saga.model import Json, Operation
from app.saga.signals import RefundHeard
from app.settings import Source

# No part of what follows from news waits, so there is nothing to spread.
NO_JITTER = 0.0


class Starter(Protocol):
    """Where this process has a worker: what may start a new operation as it is stored."""

    async def ready(self) -> None:
        """Waits, a moment at most, until a new operation may start."""

    def start_with(self, operation: Operation, event: Json, payload: bytes) -> Start | None:
        """Makes its first call ready, from the webhook's JSON and raw body; None where it is to be claimed."""


# What an event is found to be whose payment is on disk just as it says.
TAKEN = frozenset({EventStatus.ACCEPTED, EventStatus.DUPLICATE})

REPROCESSABLE = frozenset({EventStatus.UNPROCESSABLE, EventStatus.CONFLICT})


@dataclass(slots=True)
class Receipt:
    """What a delivery was found to be, once it is on disk. `operation_id` for a payment alone."""

    status: EventStatus
    event_id: UUID
    operation_id: UUID | None = None
    event_type: str | None = None
    detail: str | None = None


class Intake:
    """Takes verified deliveries in.

    Args:
        sagas_by_name: the sagas of the configuration.
        starter: where this process has a worker.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        store: Store,
        sagas: Sagas,
        sagas_by_name: Mapping[str, Saga],
        clock: Clock,
        wakeup: Wakeup,
        starter: Starter | None = None,
    ) -> None:
        self._engine = engine
        self._store = store
        self._sagas = sagas
        self._sagas_by_name = sagas_by_name
        self._clock = clock
        self._wakeup = wakeup
        self._starter = starter
        self._blanks: dict[str, Operation] = {}
        self._recent = Recent()

    async def receive(self, source: Source, reading: Reading, body: bytes, traceparent: str | None = None) -> Receipt:
        """Stores a delivery; when this returns it is on disk.

        Args:
            reading: what the body says.
            body: the raw bytes that were signed.
            traceparent: the sender's, valid, or None.

        Raises:
            DatabaseUnavailable: it may or may not be stored; the sender is to send it again.
        """
        return (await self.receive_all(source, [(reading, body)], traceparent))[0]

    async def receive_all(
        self, source: Source, messages: Sequence[tuple[Reading, bytes]], traceparent: str | None = None
    ) -> list[Receipt]:
        """Stores what came in one delivery, acknowledged when all of it is on disk; one receipt each.

        Arguments and errors as `receive`.
        """
        plain, known_as = not tells_of_refunds(source), None
        if plain and len(messages) == 1 and isinstance(reading := messages[0][0], Payment):
            known_as = payment_event_id(source, reading)
            again = await self._redelivered(source, known_as, reading)
            if again is not None:
                return [again]
        await self._make_blank(source)
        now = self._clock.now()
        arrivals = [self._arrival(source, reading, body, traceparent, now, known_as) for reading, body in messages]
        if plain and self._starter is not None:
            await self._starter.ready()
            # Else a refund may have been told before its payment, which the claim of an operation on disk finds out.
            for arrival, (reading, _) in zip(arrivals, messages, strict=True):
                if arrival.operation is not None and isinstance(reading, Payment):
                    # Nothing may be waited for after this.
                    arrival.start = self._starter.start_with(arrival.operation, reading.event, arrival.payload)
        stored = await self._store.ingest_all(arrivals)
        await self._tell(source, arrivals)
        return [self._receipt(arrival, found) for arrival, found in zip(arrivals, stored, strict=True)]

    async def _redelivered(self, source: Source, event: UUID, payment: Payment) -> Receipt | None:
        """Counts the event of a payment that is thought to be known; None where it is not."""
        operation = self._recent.get(event)
        if operation is None and self._recent.known_last:
            operation = operation_id(source.identity, payment.external_id)
        stored = None if operation is None else await self._store.redelivered(event, operation)
        if operation is None or stored is None:
            return None
        self._recent.add(event, operation)
        return Receipt(stored.status, event, operation, payment.event_type, stored.detail)

    async def reprocess(self, sources: Mapping[str, Source], event: UUID) -> Receipt:
        """Reads an unprocessable or conflicting event again, after the configuration was mended.

        Raises:
            NotFound: there is no such event.
            NotAllowed: another status; a source that is not configured any more.
            InvalidRequest: it still cannot be read.
            DatabaseUnavailable: as for `receive`.
        """
        row = await event_row(self._engine, event)
        if row is None:
            raise NotFound("no such event")
        if row.status not in REPROCESSABLE or row.payload is None:
            raise NotAllowed(f"the event is {row.status}; only an unprocessable or conflicting one can be read again")
        source = _source_of(sources, row.source)
        if source is None:
            raise NotAllowed(f'its source "{row.source}" is not configured any more')
        reading = read(source, Delivery(row.delivery_id, row.event_type), row.payload)
        if isinstance(reading, Unreadable):
            raise InvalidRequest(f"it still cannot be read: {reading.detail}")
        await self._make_blank(source)
        arrival = self._arrival(source, reading, row.payload, None, self._clock.now(), event)
        arrival = replace(arrival, deliveries=row.deliveries, received_at=row.received_at)
        stored = await self._store.ingest_again(row.bucket, arrival)
        if stored is None:
            raise NotAllowed("the event is being read again by somebody else")
        await self._tell(source, [arrival])
        return self._receipt(arrival, stored)

    async def _tell(self, source: Source, arrivals: Sequence[Arrival]) -> None:
        """Lets the operations hear what was told of their payments' refunds, once that is on disk.

        Where this fails the sender is not acknowledged, and sends it again. An operation that is not there yet hears it at
        its first claim.
        """
        for id_ in {told.operation_id: None for arrival in arrivals for told in arrival.refunds}:
            while (operation := await self._store.load(id_)) is not None:
                found = await told_of(self._engine, [(bucket_of(id_, self._store.buckets), id_)])
                saga, now = await self._sagas.get(operation.saga_hash), self._clock.now()
                transition = advance(saga, operation, RefundHeard(found.get(id_, ())), now, NO_JITTER)
                if transition is None:
                    break
                if await self._store.record(transition, actor=f"source:{source.name}", at=now):
                    self._wakeup.signal()
                    break

    def _told(self, source: Source, body: bytes, now: datetime) -> tuple[Told, ...]:
        """What an event tells of refunds, with the ids of the operations that their payments have, or will have."""
        told = []
        for news in refund_news(source, body):
            id_, refund = operation_id(source.identity, news.payment_id), known_refund(news.refund)
            told.append(Told(bucket_of(id_, self._store.buckets), id_, refund, now))
        return tuple(told)

    def _receipt(self, arrival: Arrival, stored: Stored) -> Receipt:
        if stored.status is EventStatus.ACCEPTED and arrival.start is None:
            self._wakeup.signal()
        operation = arrival.operation.id if arrival.operation else None
        if operation is not None:
            self._recent.known_last = stored.status is not EventStatus.ACCEPTED
            if stored.status in TAKEN:
                self._recent.add(arrival.id, operation)
        return Receipt(stored.status, arrival.id, operation, arrival.event_type, stored.detail)

    def _arrival(
        self,
        source: Source,
        reading: Reading,
        body: bytes,
        traceparent: str | None,
        now: datetime,
        known_as: UUID | None = None,
    ) -> Arrival:
        operation = None
        match reading:
            case Payment():
                status, detail = EventStatus.ACCEPTED, None
                id_ = known_as or payment_event_id(source, reading)
                operation = self._operation(source, reading, traceparent, now)
            case Ignored():
                status, detail = EventStatus.IGNORED, None
                which = reading.delivery_id or digest(body)
                id_ = known_as or event_id(source.identity, "ignored", which, reading.event_type)
            case Unreadable():
                status, detail = EventStatus.UNPROCESSABLE, reading.detail
                id_ = unprocessable_id(source, reading, body)
            case _:
                assert_never(reading)
        return Arrival(
            id=id_,
            bucket=bucket_of(operation.id if operation else id_, self._store.buckets),
            source=source.name,
            delivery_id=reading.delivery_id,
            external_id=operation.external_id if operation else None,
            event_type=reading.event_type,
            status=status,
            detail=detail,
            received_at=now,
            payload=body,
            operation=operation,
            refunds=self._told(source, body, now) if tells_of_refunds(source) else (),
        )

    async def _make_blank(self, source: Source) -> None:
        """Makes what new operations of a source's saga have in common, once; then the saga is on disk.

        Kept by the saga's name, as its hash is long to compute.
        """
        if source.saga not in self._blanks:
            saga = self._sagas_by_name[source.saga]
            self._blanks[source.saga] = blank_of(saga, await self._sagas.store(saga))

    def _operation(self, source: Source, payment: Payment, traceparent: str | None, now: datetime) -> Operation:
        """What a payment makes, if it is new."""
        heard = Heard(
            source=source.name,
            external_id=payment.external_id,
            order_id=payment.order_id,
            amount=payment.amount,
            currency=payment.currency,
            occurred_at=payment.occurred_at,
            traceparent=traceparent,
        )
        id_ = operation_id(source.identity, payment.external_id)
        saga, blank = self._sagas_by_name[source.saga], self._blanks[source.saga]
        return filled_in(blank, saga, id_, serial(now, id_), heard, now)


def _source_of(sources: Mapping[str, Source], name: str) -> Source | None:
    """The source that an event came from: it may have been renamed since, with its old name kept for its identity."""
    by_identity = {source.identity: source for source in sources.values()}
    return sources.get(name) or by_identity.get(name)
