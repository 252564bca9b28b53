"""The operation that a payment makes when we hear of it for the first time."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from app.saga.definition import Saga
from app.saga.model import Operation, StepState, StepStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What we were told of a payment. `amount` is in the currency's minor units; `event_id` is of the event that told."""

    source: str
    external_id: str
    order_id: str
    amount: int
    currency: str
    occurred_at: datetime | None
    event_id: UUID
    traceparent: str | None


def new_operation(operation_id: UUID, saga: Saga, saga_hash: str, heard: Heard, now: datetime) -> Operation:
    """A new operation, ready for its first step after the payment; the payment is done, as we hear of it.

    Args:
        now: the database's time, from which the saga's deadline counts.
    """
    payment, *rest = saga.steps
    return Operation(
        id=operation_id,
        source=heard.source,
        external_id=heard.external_id,
        order_id=heard.order_id,
        amount=heard.amount,
        currency=heard.currency,
        saga=saga.name,
        saga_hash=saga_hash,
        event_id=heard.event_id,
        step=rest[0].name if rest else payment.name,
        next_run_at=now,
        deadline=now + saga.deadline,
        occurred_at=heard.occurred_at,
        steps=(StepState(payment.name, StepStatus.DONE, did=True), *(StepState(step.name) for step in rest)),
        traceparent=heard.traceparent,
        created_at=now,
        updated_at=now,
    )
