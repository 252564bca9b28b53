"""What goes out over the API, field by field as the contract spells it; `app.api.schemas` describes the same to readers."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from uuid import UUID

from starlette.responses import Response

from app.db.reads import Attempt, Change, Event
from app.db.stats import Stats
from app.saga import allowed_actions
from app.saga.definition import Saga
from app.saga.model import Json, Operation
from app.saga.refund_facts import KnownRefund, is_ours
from app.saga.why import why


def time(at: datetime | None) -> str | None:
    """RFC 3339, UTC."""
    return None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def dump(value: Json) -> bytes:
    """Compact JSON in UTF-8.

    A lone surrogate, which an agent may write as an escape and UTF-8 does not have, goes out as the same escape.
    """
    return _ENCODER.encode(value).encode("utf-8", "backslashreplace")


def _word(value: object) -> str:
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not of the wire")


# Made once: json.dumps makes one for every call that asks for anything special.
_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, default=_word)


def respond(value: Json, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer."""
    return Response(dump(value), status, headers, "application/json")


def page(items: Iterable[Json], next_cursor: str | None) -> dict[str, Json]:
    """One page of a list."""
    return {"items": list(items), "next_cursor": next_cursor}


def etag(revision: int) -> str:
    """The strong entity tag of an operation at a revision."""
    return f'"{revision}"'


def pointing(body: Mapping[str, Json]) -> dict[str, str]:
    """The headers that follow from an answer's body: the revision of an operation, the place of a webhook's."""
    headers = {}
    if "revision" in body:
        headers["ETag"] = etag(body["revision"])
    if "operation_id" in body:
        headers["Location"] = f"/operations/{body['operation_id']}"
    return headers


def operation(saga: Saga, operation: Operation, told: Iterable[KnownRefund] = ()) -> dict[str, Json]:
    """An operation, with why it stands where it stands and what an operator may do now.

    Args:
        saga: the one the operation began with.
        told: what its payment's provider has told of refunds by itself.
    """
    error = operation.last_error
    return {
        "id": str(operation.id),
        "source": operation.source,
        "external_id": operation.external_id,
        "order_id": operation.order_id,
        "amount": operation.amount,
        "currency": operation.currency,
        "saga": operation.saga,
        "phase": operation.phase,
        "status": operation.status,
        "reason": operation.reason,
        "held_reason": operation.held_reason,
        "step": operation.step,
        "failure_count": operation.failure_count,
        "revision": operation.revision,
        "next_run_at": time(operation.next_run_at),
        "complete_by": time(operation.complete_by),
        "locked_by": operation.locked_by,
        "deadline": time(operation.deadline),
        "cancel_requested_at": time(operation.cancel_requested_at),
        "occurred_at": time(operation.occurred_at),
        "last_error": error and {"kind": error.kind, "status": error.status, "detail": error.detail},
        "why": why(saga, operation),
        "steps": [{"name": step.name, "status": step.status, "result": step.result} for step in operation.steps],
        "external_refunds": [_refund(each) for each in told if not is_ours(saga.steps[0].undo, operation, each)],
        "allowed_actions": list(allowed_actions(operation)),
        "created_at": time(operation.created_at),
        "updated_at": time(operation.updated_at),
        "finished_at": time(operation.finished_at),
    }


def _refund(refund: KnownRefund) -> dict[str, Json]:
    return {"id": refund.id, "amount": refund.amount, "status": refund.standing, "at": time(refund.at)}


def attempt(row: Attempt) -> dict[str, Json]:
    """One call out."""
    return {
        "step": row.step,
        "action": row.action,
        "attempt": row.attempt,
        "idempotency_key": row.idempotency_key,
        "worker": row.worker,
        "request": row.request,
        "response": row.response,
        "outcome": row.outcome,
        "started_at": time(row.started_at),
        "finished_at": time(row.finished_at),
    }


def change(row: Change) -> dict[str, Json]:
    """One change of an operation; the first has nothing before it."""
    before = None if row.from_status is None else {"phase": row.from_phase, "status": row.from_status}
    return {
        "revision": row.revision,
        "from": before,
        "to": {"phase": row.to_phase, "status": row.to_status},
        "cause": row.cause,
        "actor": row.actor,
        "at": time(row.at),
        "note": row.note,
    }


def event(row: Event) -> dict[str, Json]:
    """One delivered event, with what the sender signed."""
    return {
        "id": str(row.id),
        "source": row.source,
        "delivery_id": row.delivery_id,
        "external_id": row.external_id,
        "deliveries": row.deliveries,
        "status": row.status,
        "detail": row.detail,
        "operation_id": row.operation_id and str(row.operation_id),
        "received_at": time(row.received_at),
        "payload": row.payload,
    }


def stats(counted: Stats) -> dict[str, Json]:
    """The whole at a glance."""
    return {
        "operations": [
            {"status": part.status, "phase": part.phase, "count": part.count} for part in counted.operations
        ],
        "conservation": {
            "payments": counted.payments,
            "succeeded": counted.succeeded,
            "refunded": counted.refunded,
            "held": counted.held,
            "under_way": counted.under_way,
            "difference": counted.difference,
        },
        "oldest_pending_seconds": counted.oldest_pending_seconds,
        "finished_per_minute": counted.finished_per_minute,
    }
