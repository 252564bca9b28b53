"""From row to model and back: the one place where an operation's columns become an `Operation`.

The group-commit writers speak asyncpg, where a json column is its text; the reads speak SQLAlchemy, where it is parsed
already. Both come through here. The JSON is the standard library's: it alone keeps an agent's integers exact at any size.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, fields
from datetime import datetime
from functools import lru_cache
from typing import Any, Protocol
from uuid import UUID

from app.saga.model import (
    NO_REFUND,
    NO_SENDINGS,
    Action,
    HeldReason,
    Json,
    LastError,
    Operation,
    Outcome,
    Phase,
    Reason,
    RefundState,
    Sendings,
    Status,
    StepState,
    StepStatus,
)
from app.saga.values import replace, value_of
from app.saga.writing import writer

_storable = writer(allow_nan=False)

# The columns that an `Operation` is made of, in its own order: what a reading statement selects.
OPERATION_COLUMNS = tuple(field.name for field in fields(Operation))

# The words of the columns that every row has; looked up, as making them of their words costs seven times as much.
_PHASES = {phase.value: phase for phase in Phase}
_STATUSES = {status.value: status for status in Status}
_ACTIONS = {action.value: action for action in Action}
_STEP_STATUSES = {status.value: status for status in StepStatus}


class Row(Protocol):
    """A row by the names of its columns: a record of asyncpg, or a mapping."""

    def __getitem__(self, column: str, /) -> Any:
        """The value of a column."""
        ...


def bucket_of(id_: UUID, buckets: int) -> int:
    """The bucket that all rows of an operation lie in (for an event without one: that the event lies in).

    Args:
        id_: of the operation, or of the event.
        buckets: how many this database was made with.
    """
    return id_.int % buckets


def operation_of(record: Row) -> Operation:
    """The operation of a row, from a record of asyncpg or a mapping of SQLAlchemy.

    Args:
        record: it has at least `OPERATION_COLUMNS`.
    """
    columns = {name: record[name] for name in OPERATION_COLUMNS}
    columns["phase"] = _PHASES[columns["phase"]]
    columns["status"] = _STATUSES[columns["status"]]
    columns["action"] = _ACTIONS[columns["action"]]
    if columns["reason"] is not None:
        columns["reason"] = Reason(columns["reason"])
    if columns["held_reason"] is not None:
        columns["held_reason"] = HeldReason(columns["held_reason"])
    columns["last_error"] = last_error_of(columns["last_error"])
    columns["steps"] = steps_of(columns["steps"])
    return value_of(Operation, columns)


def storable_json(value: Json) -> str:
    """Compact JSON for a json column. What is not ASCII is escaped, so that a lone surrogate can be stored too.

    Raises:
        ValueError: NaN or an infinity is in it, which JSON does not have.
    """
    return _storable(value)


def json_value(column: Json) -> Json:
    """What a json column that never holds a bare string says, whether it comes as text or parsed."""
    return json.loads(column) if isinstance(column, str) else column


def steps_json(steps: Iterable[StepState]) -> str:
    """The states of an operation's steps as JSON; what stands at its default is left out.

    Raises:
        ValueError: a result holds NaN or an infinity.
    """
    return f"[{','.join([_step_json(step) for step in steps])}]"


def steps_of(column: str | list[dict[str, Any]]) -> tuple[StepState, ...]:
    """The states that `steps_json` has written."""
    if isinstance(column, str) and ":{" not in column and '"result":' not in column:
        return _untouched(column)
    return tuple([_step_state(value) for value in json_value(column)])


@lru_cache(maxsize=1024)  # the sagas in use; far more than a configuration has
def _untouched(column: str) -> tuple[StepState, ...]:
    """The states of steps for which nothing was called yet: of all new operations of a saga they are the same."""
    return tuple([_step_state(value) for value in json.loads(column)])


def last_error_json(error: LastError | None) -> str | None:
    """The last failure as JSON, or None where there is none."""
    if error is None:
        return None
    return storable_json({"kind": error.kind, "status": error.status, "detail": error.detail})


def last_error_of(column: str | dict[str, Any] | None) -> LastError | None:
    """The failure that `last_error_json` has written."""
    if column is None:
        return None
    value = json_value(column)
    return LastError(kind=Outcome(value["kind"]), detail=value["detail"], status=value["status"])


def _step_json(step: StepState) -> str:
    parts = [_known_json(step.name, step.status)]
    if step.result is not None:
        parts.append(f'"result":{_storable(step.result)}')
    if step.did:
        parts.append('"did":true')
    if step.absent:
        parts.append('"absent":true')
    if step.settled:
        parts.append('"settled":true')
    # Most are the very value that stands for none: comparing field by field would cost more than all else here.
    if step.do is not NO_SENDINGS and (told := _sendings_json(step.do)):
        parts.append(f'"do":{{{told}}}')
    if step.undo is not NO_SENDINGS and (told := _sendings_json(step.undo)):
        parts.append(f'"undo":{{{told}}}')
    if step.refund is not NO_REFUND and step.refund != NO_REFUND:
        known = asdict(step.refund)
        news = {name: part for name, part in known.items() if part != getattr(NO_REFUND, name)}
        parts.append(f'"refund":{_storable(news)}')
    return f"{{{','.join(parts)}}}"


@lru_cache(maxsize=1024)  # the steps of the sagas in use; far more than a configuration has
def _known_json(name: str, status: StepStatus) -> str:
    return f'"name":{_storable(name)},"status":"{status}"'


def _sendings_json(sendings: Sendings) -> str:
    """Counts, times and flags, which need no quoting; what stands at its default is left out."""
    parts = []
    if sendings.count:
        parts.append(f'"count":{sendings.count}')
    if sendings.first_at is not None:
        parts.append(f'"first_at":"{sendings.first_at.isoformat()}"')
    if sendings.last_at is not None:
        parts.append(f'"last_at":"{sendings.last_at.isoformat()}"')
    if sendings.unknown:
        parts.append(f'"unknown":{sendings.unknown}')
    if sendings.out:
        parts.append('"out":true')
    if sendings.refused:
        parts.append('"refused":true')
    if sendings.conflict:
        parts.append('"conflict":true')
    return ",".join(parts)


def _step_state(value: dict[str, Any]) -> StepState:
    look = value.get
    fields = {
        "name": value["name"],
        "status": _STEP_STATUSES[value["status"]],
        "result": look("result"),
        "did": look("did", False),
        "absent": look("absent", False),
        "settled": look("settled", False),
        "do": _sendings(look("do")),
        "undo": _sendings(look("undo")),
        "refund": _refund(look("refund")),
    }
    return value_of(StepState, fields)


def _refund(value: dict[str, Any] | None) -> RefundState:
    if value is None:
        return NO_REFUND
    return RefundState(**{**value, "former": tuple(value.get("former", ()))})


def _sendings(value: dict[str, Any] | None) -> Sendings:
    if value is None:
        return NO_SENDINGS
    parts = dict(value)
    for name in ("first_at", "last_at"):
        if name in parts:
            parts[name] = datetime.fromisoformat(parts[name])
    return replace(NO_SENDINGS, **parts)
