"""The operation that a payment makes when we hear of it for the first time."""

from datetime import datetime
from uuid import UUID

from app.saga.model import Action, Operation, Phase, Saga, Status, StepState, StepStatus


def new_operation(
    operation_id: UUID,
    saga: Saga,
    saga_hash: str,
    *,
    source: str,
    external_id: str,
    order_id: str,
    amount: int,
    currency: str,
    occurred_at: datetime | None,
    event_id: UUID,
    traceparent: str | None,
    now: datetime,
) -> Operation:
    """A new operation, ready for its first step after the payment; the payment is done, as we hear of it.

    Args:
        amount: in the currency's minor units.
        now: the database's time, from which the saga's deadline counts.
    """
    payment, *rest = saga.steps
    return Operation(
        id=operation_id,
        source=source,
        external_id=external_id,
        order_id=order_id,
        amount=amount,
        currency=currency,
        saga=saga.name,
        saga_hash=saga_hash,
        event_id=event_id,
        phase=Phase.PURCHASE,
        status=Status.PENDING,
        reason=None,
        held_reason=None,
        step=rest[0].name if rest else payment.name,
        action=Action.DO,
        attempt=0,
        revision=1,
        lease=0,
        next_run_at=now,
        complete_by=None,
        locked_by=None,
        deadline=now + saga.deadline,
        cancel_requested_at=None,
        occurred_at=occurred_at,
        last_error=None,
        steps=(
            StepState(payment.name, StepStatus.DONE, did=True),
            *(StepState(step.name) for step in rest),
        ),
        traceparent=traceparent,
        created_at=now,
        updated_at=now,
        finished_at=None,
    )
