"""How the rows of one batch are told to PostgreSQL: each array that is sent costs time for each of its items.

So what few rows differ in is sent once for each kind of row, and the rows say by number which kind they are; and a column
that no row has anything for is not sent at all.

Each of the long statements begins with its name, by which it is known in pg_stat_activity: that shows their beginnings.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar
from uuid import UUID

import asyncpg

Item = TypeVar("Item")

# A statement by itself is a transaction by itself. Where a server's default is not to wait for the disk, this one waits:
# read from in the statement, it is always carried out, and holds until the transaction's end. It is one row also where
# nothing was written: with no id, which `ids_of` leaves out.
DURABLE = """
(SELECT CASE WHEN current_setting('synchronous_commit') = 'off'
             THEN set_config('synchronous_commit', 'on', true) END) AS durable
"""


class Kinds:
    """The kinds of rows that a batch has, numbered from 1, as PostgreSQL numbers the items of an array."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[object, ...], int] = {}

    def number(self, kind: tuple[object, ...]) -> int:
        """The number of a kind; a new one where it is the first of its kind."""
        return self._numbers.setdefault(kind, len(self._numbers) + 1)

    def columns(self, rows: Sequence[tuple[object, ...]]) -> list[Sequence[object] | None]:
        """The kinds by columns, in the order of their numbers, then the rows by columns.

        Args:
            rows: each with the number of its kind in it; at least one.
        """
        return [*zip(*self._numbers, strict=True), *map(_sparse, zip(*rows, strict=True))]


def ids_of(rows: Iterable[asyncpg.Record]) -> set[UUID]:
    """The ids that a statement has given back."""
    return {row["id"] for row in rows} - {None}


def by_bucket(items: Iterable[Item], bucket_of: Callable[[Item], int]) -> list[tuple[int, list[Item]]]:
    """The items by bucket, in the order in which they came."""
    parts: dict[int, list[Item]] = {}
    for item in items:
        parts.setdefault(bucket_of(item), []).append(item)
    return sorted(parts.items())


def _sparse(column: Sequence[object | None]) -> Sequence[object | None] | None:
    """A column, or None where no row has anything in it: `unnest` fills it up with NULL."""
    return column if any(item is not None for item in column) else None
