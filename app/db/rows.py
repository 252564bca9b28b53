"""From row to model and back: the one place where an operation's columns become an `Operation`.

The group-commit writers speak asyncpg, where a json column is its text; the reads speak SQLAlchemy, where it is parsed
already. Both come through here. The JSON is the standard library's: it alone keeps an agent's integers exact at any size.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, fields
from datetime import datetime
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

# Made once: json.dumps makes one for every call that asks for anything special.
_STORABLE = json.JSONEncoder(separators=(",", ":"), allow_nan=False)

# The columns that an `Operation` is made of, in its own order: what a reading statement selects.
OPERATION_COLUMNS = tuple(field.name for field in fields(Operation))

# The flags of a step that are written only where they are set.
STEP_FLAGS = ("did", "absent", "settled")


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
    columns["phase"] = Phase(columns["phase"])
    columns["status"] = Status(columns["status"])
    columns["action"] = Action(columns["action"])
    if columns["reason"] is not None:
        columns["reason"] = Reason(columns["reason"])
    if columns["held_reason"] is not None:
        columns["held_reason"] = HeldReason(columns["held_reason"])
    columns["last_error"] = last_error_of(columns["last_error"])
    columns["steps"] = steps_of(columns["steps"])
    return Operation(**columns)


def storable_json(value: Json) -> str:
    """Compact JSON for a json column. What is not ASCII is escaped, so that a lone surrogate can be stored too.

    Raises:
        ValueError: NaN or an infinity is in it, which JSON does not have.
    """
    return _STORABLE.encode(value)


def json_value(column: Json) -> Json:
    """What a json column that never holds a bare string says, whether it comes as text or parsed."""
    return json.loads(column) if isinstance(column, str) else column


def steps_json(steps: Iterable[StepState]) -> str:
    """The states of an operation's steps as JSON; what stands at its default is left out.

    Raises:
        ValueError: a result holds NaN or an infinity.
    """
    return storable_json([_step_value(step) for step in steps])


def steps_of(column: str | list[dict[str, Any]]) -> tuple[StepState, ...]:
    """The states that `steps_json` has written."""
    return tuple(_step_state(value) for value in json_value(column))


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


def _step_value(step: StepState) -> dict[str, Json]:
    value: dict[str, Json] = {"name": step.name, "status": step.status}
    if step.result is not None:
        value["result"] = step.result
    for flag in STEP_FLAGS:
        if getattr(step, flag):
            value[flag] = True
    # Most are the very value that stands for none: comparing field by field would cost more than all else here.
    if step.do is not NO_SENDINGS and step.do != NO_SENDINGS:
        value["do"] = _sendings_value(step.do)
    if step.undo is not NO_SENDINGS and step.undo != NO_SENDINGS:
        value["undo"] = _sendings_value(step.undo)
    if step.refund != NO_REFUND:
        known = asdict(step.refund)
        value["refund"] = {name: part for name, part in known.items() if part != getattr(NO_REFUND, name)}
    return value


def _sendings_value(sendings: Sendings) -> dict[str, Json]:
    value: dict[str, Json] = {}
    for field, part in vars(sendings).items():
        if part:
            value[field] = part.isoformat() if isinstance(part, datetime) else part
    return value


def _step_state(value: dict[str, Any]) -> StepState:
    return StepState(
        name=value["name"],
        status=StepStatus(value["status"]),
        result=value.get("result"),
        did=value.get("did", False),
        absent=value.get("absent", False),
        settled=value.get("settled", False),
        do=_sendings(value.get("do")),
        undo=_sendings(value.get("undo")),
        refund=_refund(value.get("refund")),
    )


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
    return Sendings(**parts)
