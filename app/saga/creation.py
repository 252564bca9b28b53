"""The operation that a payment makes when we hear of it for the first time."""

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from app.saga.definition import Saga
from app.saga.model import Operation, StepState, StepStatus
from app.saga.values import replace

# Stand in a blank for what is filled in.
_NOBODY, _NEVER = UUID(int=0), datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True, kw_only=True)
class Heard:
    """What we were told of a payment. `amount` is in the currency's minor units."""

    source: str
    external_id: str
    order_id: str
    amount: int
    currency: str
    occurred_at: datetime | None
    traceparent: str | None


def new_operation(
    operation_id: UUID, serial: UUID, saga: Saga, saga_hash: str, heard: Heard, now: datetime
) -> Operation:
    """A new operation, ready for its first step after the payment; the payment is done, as we hear of it.

    Args:
        now: the database's time, from which the saga's deadline counts.
    """
    return filled_in(blank_of(saga, saga_hash), saga, operation_id, serial, heard, now)


def filled_in(blank: Operation, saga: Saga, operation_id: UUID, serial: UUID, heard: Heard, now: datetime) -> Operation:
    """As `new_operation`, with what all new operations of the saga have in common made before."""
    return replace(
        blank,
        id=operation_id,
        serial=serial,
        source=heard.source,
        external_id=heard.external_id,
        order_id=heard.order_id,
        amount=heard.amount,
        currency=heard.currency,
        next_run_at=now,
        deadline=now + saga.deadline,
        occurred_at=heard.occurred_at,
        traceparent=heard.traceparent,
        created_at=now,
        updated_at=now,
    )


def blank_of(saga: Saga, saga_hash: str) -> Operation:
    """What all new operations of a saga have in common; what is each one's own is not filled in."""
    payment, *rest = saga.steps
    return Operation(
        id=_NOBODY,
        serial=_NOBODY,
        source="",
        external_id="",
        order_id="",
        amount=0,
        currency="",
        saga=saga.name,
        saga_hash=saga_hash,
        step=rest[0].name if rest else payment.name,
        deadline=_NEVER,
        steps=(StepState(payment.name, StepStatus.DONE, did=True), *(StepState(step.name) for step in rest)),
        created_at=_NEVER,
        updated_at=_NEVER,
    )
