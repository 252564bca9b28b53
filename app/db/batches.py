"""How the rows of one batch are told to PostgreSQL: each array that is sent costs time for each of its items.

So what few rows differ in is sent once for each kind of row, and the rows say by number which kind they are; and a column
that no row has anything for is not sent at all.
"""

from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Kind = TypeVar("Kind", bound=Hashable)

# Each of the long statements begins with its name, by which it is known in pg_stat_activity, which shows no more than its
# beginning.

# A statement by itself is a transaction by itself. Where a server's default is not to wait for the disk, this one waits:
# read from in the statement, it is always carried out, and holds until the transaction's end.
DURABLE = """
(SELECT CASE WHEN current_setting('synchronous_commit') = 'off'
             THEN set_config('synchronous_commit', 'on', true) END) AS durable
"""


class Kinds(Generic[Kind]):
    """The kinds of rows that a batch has, numbered from 1, as PostgreSQL numbers the items of an array."""

    def __init__(self) -> None:
        self._numbers: dict[Kind, int] = {}

    def number(self, kind: Kind) -> int:
        """The number of a kind; a new one where it is the first of its kind."""
        return self._numbers.setdefault(kind, len(self._numbers) + 1)

    def all(self) -> list[Kind]:
        """The kinds, in the order of their numbers."""
        return list(self._numbers)


def sparse(column: Sequence[Item | None]) -> Sequence[Item | None] | None:
    """A column, or None where no row has anything in it: `unnest` fills it up with NULL."""
    return column if any(item is not None for item in column) else None
