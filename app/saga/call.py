"""What a call is made from: its key, by which an agent knows a repetition, and its document."""

from app.saga.model import Action, Json, Operation


def idempotency_key(operation: Operation, step: str, action: Action) -> str | None:
    """The `Idempotency-Key` of a call: the same for every attempt, for ever. A lookup has none."""
    return None if action is Action.LOOKUP else f"{operation.id!s}:{step}:{action}"


def call_document(operation: Operation, step: str, event: Json, *, undo: bool) -> dict[str, Json]:
    """The document that a call's body and path are made from (contract: calls to agents).

    Args:
        event: the webhook's JSON.
        undo: whether the call is the step's undo, which may read the step's own result.
    """
    first = operation.steps[0].name
    results = {
        state.name: state.result
        for state in operation.steps
        if state.did and state.name != first and (undo or state.name != step)
    }
    return {
        "operation_id": str(operation.id),
        "source": operation.source,
        "external_id": operation.external_id,
        "order_id": operation.order_id,
        "amount": operation.amount,
        "currency": operation.currency,
        "step": step,
        "results": results,
        "event": event,
    }
