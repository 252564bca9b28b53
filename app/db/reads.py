"""What is looked at: operations, what was called for them, what was changed and what was delivered.

Each is one statement in no transaction, so a list costs one round trip whatever its length. Lists go newest first and
from one item's sort key to the next (keyset), never by an offset.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn
from uuid import UUID

from sqlalchemy import ARRAY, Executable, RowMapping, Uuid, any_, bindparam, func, literal, select, tuple_
from sqlalchemy.orm import Mapped
from sqlalchemy.sql import ColumnElement, Select
from sqlalchemy.sql.selectable import ScalarSelect
from sqlmodel import col

from app.db.engine import AsyncEngine, translated
from app.db.filters import OperationFilter, conditions_of, equal, one_of
from app.db.refunds import told_of
from app.db.rows import OPERATION_COLUMNS, bucket_of, operation_of
from app.db.schema import buckets
from app.db.tables import AttemptRow, EventRow, EventStatus, HistoryRow, OperationRow
from app.saga.model import Action, Json, Operation, Outcome, Phase, Status
from app.saga.refund_facts import KnownRefund

# The sort key of the last item of a page: when it was made (an event: received), and its id.
Cursor = tuple[datetime, UUID]

COLUMNS = [col(getattr(OperationRow, name)) for name in OPERATION_COLUMNS]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call out. `outcome` and `finished_at` are None while it is out, `response` also where none came."""

    step: str
    action: Action
    attempt: int
    idempotency_key: str | None
    worker: str
    request: Json
    response: Json
    outcome: Outcome | None
    started_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Change:
    """One change of an operation. Its creation comes from nothing: `from_phase` and `from_status` are None."""

    revision: int
    from_phase: Phase | None
    from_status: Status | None
    to_phase: Phase
    to_status: Status
    cause: str
    actor: str
    at: datetime
    note: str | None


@dataclass(frozen=True, slots=True)
class Event:
    """One delivered event. `payload` is its JSON, its text where it is none, and None once retention has emptied it."""

    id: UUID
    source: str
    delivery_id: str | None
    external_id: str | None
    event_type: str | None
    deliveries: int
    status: EventStatus
    detail: str | None
    operation_id: UUID | None
    received_at: datetime
    payload: Json


ATTEMPT_COLUMNS = [col(getattr(AttemptRow, name)) for name in Attempt.__dataclass_fields__]
CHANGE_COLUMNS = [col(getattr(HistoryRow, name)) for name in Change.__dataclass_fields__]
# An event has its operation's serial, and is shown with its id.
_ITS_OPERATION = select(col(OperationRow.id)).where(
    col(OperationRow.bucket) == col(EventRow.bucket), col(OperationRow.serial) == col(EventRow.operation_serial)
)
EVENT_COLUMNS = [
    _ITS_OPERATION.scalar_subquery().label(name) if name == "operation_id" else col(getattr(EventRow, name))
    for name in Event.__dataclass_fields__
]


async def operation(engine: AsyncEngine, id_: UUID) -> Operation | None:
    """The operation of that id, or None.

    Raises:
        DatabaseUnavailable: the database cannot be asked; so do all functions here.
    """
    bucket = bucket_of(id_, await buckets(engine))
    rows = await _rows(engine, select(*COLUMNS).where(col(OperationRow.bucket) == bucket, col(OperationRow.id) == id_))
    return operation_of(rows[0]) if rows else None


async def operations(
    engine: AsyncEngine, filters: OperationFilter, limit: int, after: Cursor | None = None
) -> list[Operation]:
    """Operations, newest first.

    Args:
        limit: items at most.
        after: the end of the page before.
    """
    rows = await _rows(engine, operations_statement(filters, limit, after))
    return [operation_of(row) for row in rows]


async def count(engine: AsyncEngine, filters: OperationFilter) -> int:
    """How many operations the filters name."""
    wanted = select(func.count().label("count")).select_from(OperationRow).where(*conditions_of(filters))
    return int((await _rows(engine, wanted))[0]["count"])


def operations_statement(filters: OperationFilter, limit: int, after: Cursor | None = None) -> Select[Any]:
    """The statement of `operations`."""
    row = OperationRow
    return _page(select(*COLUMNS).where(*conditions_of(filters)), col(row.created_at), col(row.id), limit, after)


async def revisions(engine: AsyncEngine, ids: Collection[UUID]) -> dict[UUID, tuple[int, Status]]:
    """Revision and status of those of the operations that exist, in one statement however many they are."""
    dealt = await buckets(engine)
    row = OperationRow
    wanted = select(col(row.id), col(row.revision), col(row.status)).where(
        col(row.bucket).in_({bucket_of(id_, dealt) for id_ in ids}),
        col(row.id) == any_(bindparam("ids", list(ids), type_=ARRAY(Uuid()))),
    )
    return {found["id"]: (found["revision"], found["status"]) for found in await _rows(engine, wanted)}


async def attempts(engine: AsyncEngine, id_: UUID) -> list[Attempt]:
    """The calls that were made for an operation, oldest first; none where there is no such operation."""
    row = AttemptRow
    bucket = bucket_of(id_, await buckets(engine))
    wanted = select(*ATTEMPT_COLUMNS).where(
        col(row.bucket) == bucket, col(row.operation_serial) == _serial(bucket, id_)
    )
    return [Attempt(**found) for found in await _rows(engine, wanted.order_by(col(row.lease)))]


async def history(engine: AsyncEngine, id_: UUID) -> list[Change]:
    """The changes of an operation, oldest first; none where there is no such operation."""
    row = HistoryRow
    bucket = bucket_of(id_, await buckets(engine))
    wanted = select(*CHANGE_COLUMNS).where(col(row.bucket) == bucket, col(row.operation_serial) == _serial(bucket, id_))
    return [Change(**found) for found in await _rows(engine, wanted.order_by(col(row.revision)))]


async def events(
    engine: AsyncEngine,
    statuses: Collection[EventStatus],
    source: str | None,
    limit: int,
    after: Cursor | None = None,
) -> list[Event]:
    """Delivered events, newest first.

    Args:
        statuses: any of them; none means all.
        limit: items at most.
        after: the end of the page before.
    """
    return [_event(row) for row in await _rows(engine, events_statement(statuses, source, limit, after))]


def events_statement(
    statuses: Collection[EventStatus], source: str | None, limit: int, after: Cursor | None = None
) -> Select[Any]:
    """The statement of `events`."""
    row = EventRow
    conditions = list(equal((col(row.source), source)))
    if statuses:
        conditions.append(one_of(col(row.status), statuses))
    return _page(select(*EVENT_COLUMNS).where(*conditions), col(row.received_at), col(row.id), limit, after)


async def event(engine: AsyncEngine, id_: UUID) -> Event | None:
    """The event of that id, or None."""
    rows = await _rows(engine, select(*EVENT_COLUMNS).where(*await _this_event(engine, id_)))
    return _event(rows[0]) if rows else None


async def event_row(engine: AsyncEngine, id_: UUID) -> EventRow | None:
    """The event of that id as it is stored, its raw body included, or None."""
    rows = await _rows(engine, select(EventRow).where(*await _this_event(engine, id_)))
    return EventRow(**rows[0]) if rows else None


async def refunds_told(engine: AsyncEngine, ids: Collection[UUID]) -> dict[UUID, tuple[KnownRefund, ...]]:
    """What providers have told of the refunds of operations, by id; in one statement however many they are."""
    dealt = await buckets(engine)
    return await told_of(engine, [(bucket_of(id_, dealt), id_) for id_ in ids]) if ids else {}


async def _this_event(engine: AsyncEngine, id_: UUID) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """An event lies in the bucket of its operation, which its id does not tell: so it is looked for in each."""
    dealt = range(await buckets(engine))
    return col(EventRow.bucket).in_(dealt), col(EventRow.id) == id_


def _serial(bucket: int, id_: UUID) -> ScalarSelect[UUID]:
    """The serial of an operation, which is NULL where there is none."""
    named = (col(OperationRow.bucket) == bucket, col(OperationRow.id) == id_)
    return select(col(OperationRow.serial)).where(*named).scalar_subquery()


async def _rows(engine: AsyncEngine, statement: Executable) -> Sequence[RowMapping]:
    """All rows of one statement, with no transaction around it: that would be two more round trips."""
    with translated():
        async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            return (await connection.execute(statement)).mappings().all()


def _page(statement: Select[Any], at: Mapped[Any], id_: Mapped[Any], limit: int, after: Cursor | None) -> Select[Any]:
    if after is not None:
        statement = statement.where(tuple_(at, id_) < tuple_(*map(literal, after)))
    return statement.order_by(at.desc(), id_.desc()).limit(limit)


def _event(row: RowMapping) -> Event:
    columns = dict(row)
    if columns["payload"] is not None:
        columns["payload"] = _payload(columns["payload"])
    return Event(**columns)


def _payload(body: bytes) -> Json:
    """A body as JSON, or as its text where it is none, or holds what cannot be written as JSON again."""
    text = body.decode("utf-8", "replace")
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError):
        return text


def _finite(number: str) -> float:
    value = float(number)
    return value if abs(value) != float("inf") else _refuse(number)


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON number")
