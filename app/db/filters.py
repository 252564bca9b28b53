"""Which operations are asked for, as a reader says it and as the database is asked.

The words of a status are written into the statement rather than passed to it, since only then can the planner use an index
of that status alone.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, select, tuple_
from sqlalchemy.orm import Mapped
from sqlalchemy.sql import ColumnElement
from sqlmodel import col

from app.db.queue_table import QueueRow
from app.db.tables import OperationRow
from app.saga.model import Operation, Phase, Status

# What is in the queue: the statuses of what somebody has to look at again.
QUEUED = frozenset({Status.PENDING, Status.PROCESSING, Status.ERROR, Status.WAITING})


@dataclass(frozen=True, slots=True)
class OperationFilter:
    """Which operations; all that is given must match, an empty `statuses` gives none.

    Args:
        created_after: inclusive.
        created_before: exclusive.
    """

    external_id: str | None = None
    order_id: str | None = None
    source: str | None = None
    statuses: frozenset[Status] = frozenset()
    phase: Phase | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None

    def names(self, operation: Operation) -> bool:
        """Whether an operation that was read otherwise is one of these."""
        wanted = (self.external_id, self.order_id, self.source, self.phase)
        found = (operation.external_id, operation.order_id, operation.source, operation.phase)
        return (
            all(want is None or want == has for want, has in zip(wanted, found, strict=True))
            and (not self.statuses or operation.status in self.statuses)
            and (self.created_after is None or operation.created_at >= self.created_after)
            and (self.created_before is None or operation.created_at < self.created_before)
        )


def conditions_of(filters: OperationFilter) -> list[ColumnElement[bool]]:
    """What a row has to fulfil; what is held, or under way, is found by the index of that."""
    row = OperationRow
    conditions = list(
        equal(
            (col(row.external_id), filters.external_id),
            (col(row.order_id), filters.order_id),
            (col(row.source), filters.source),
            (col(row.phase), filters.phase),
        )
    )
    if filters.statuses:
        conditions.append(one_of(col(row.status), filters.statuses))
    if filters.statuses == {Status.HELD}:
        conditions.append(col(row.held_reason).is_not(None))
    if filters.statuses and filters.statuses <= QUEUED:
        queued = select(col(QueueRow.bucket), col(QueueRow.operation_serial))
        conditions.append(tuple_(col(row.bucket), col(row.serial)).in_(queued))
    if filters.created_after is not None:
        conditions.append(col(row.created_at) >= filters.created_after)
    if filters.created_before is not None:
        conditions.append(col(row.created_at) < filters.created_before)
    return conditions


def equal(*pairs: tuple[Mapped[Any], object]) -> Iterable[ColumnElement[bool]]:
    """Columns have their values, where one is asked for."""
    return (column == value for column, value in pairs if value is not None)


def one_of(column: Mapped[Any], words: Collection[Any]) -> ColumnElement[bool]:
    """Members of a StrEnum, written into the statement."""
    return column.in_(bindparam("words", sorted(words), expanding=True, literal_execute=True))
