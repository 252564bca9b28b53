"""Valid values of the domain with only the interesting field named."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from app.db.ingest import Arrival
from app.db.rows import bucket_of
from app.db.tables import EventStatus
from app.identity import event_id, operation_id
from app.ids import serial
from app.saga.creation import Heard, new_operation
from app.saga.definition import HttpCall, RetryPolicy, Saga, Step, hash_of
from app.saga.model import Operation

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
QUICK = RetryPolicy(5, timedelta(milliseconds=10), 2.0, timedelta(milliseconds=50))


class FixedClock:
    """A clock that stands until it is told to go on."""

    def __init__(self, now: datetime = NOW) -> None:
        self._now = now
        self._seconds = 1000.0

    def now(self) -> datetime:
        """The database's time."""
        return self._now

    def monotonic(self) -> float:
        """Seconds."""
        return self._seconds

    def wall(self) -> datetime:
        """The wall clock's time; the same."""
        return self._now

    def advance(self, by: timedelta) -> None:
        """Goes on."""
        self._now += by
        self._seconds += by.total_seconds()


def purchase_saga(**changes: Any) -> Saga:
    """A payment and a purchase, both of which can be undone."""
    payment = Step("payment", undo=HttpCall("psp", "POST", "/refunds"), undo_retry=QUICK)
    purchase = Step(
        "purchase",
        do=HttpCall("supplier", "POST", "/purchases"),
        undo=HttpCall("supplier", "POST", "/purchases/{operation_id}/cancel"),
        retry=QUICK,
        undo_retry=QUICK,
    )
    return replace(Saga("purchase", (payment, purchase)), **changes)


def operation_for(
    external_id: str = "pay_1",
    *,
    saga: Saga | None = None,
    now: datetime = NOW,
    order_id: str = "order-1",
    amount: int = 1999,
    currency: str = "EUR",
) -> Operation:
    """A new operation of the source `shop`."""
    saga = saga or purchase_saga()
    id_ = operation_id("shop", external_id)
    return new_operation(
        id_,
        serial(now, id_),
        saga,
        hash_of(saga),
        Heard(
            source="shop",
            external_id=external_id,
            order_id=order_id,
            amount=amount,
            currency=currency,
            occurred_at=None,
            traceparent=None,
        ),
        now,
    )


def arrival_of(operation: Operation, *, delivery_id: str = "msg_1", buckets: int = 1) -> Arrival:
    """The first delivery of a payment."""
    said = [operation.external_id, operation.order_id, operation.amount, operation.currency]
    id_ = event_id("shop", "payment", delivery_id, *said)
    return Arrival(
        id=id_,
        bucket=bucket_of(operation.id, buckets),
        source=operation.source,
        delivery_id=delivery_id,
        external_id=operation.external_id,
        event_type="payment.received",
        status=EventStatus.ACCEPTED,
        detail=None,
        received_at=operation.created_at,
        payload=b'{"type":"payment.received"}',
        operation=operation,
    )
