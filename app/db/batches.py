"""What the statements that write many rows at once have in common.

Those under load take a batch as one array of rows, of types that are made for it (migration 0008): of each item of an array
asyncpg asks first whether it is a list itself, which costs more than to send it, so an array a column is dear.

Each of the long statements begins with its name, by which it is known in pg_stat_activity: that shows their beginnings.
"""

from collections.abc import Callable, Iterable
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


def ids_of(rows: Iterable[asyncpg.Record]) -> set[UUID]:
    """The ids that a statement has given back."""
    return {row["id"] for row in rows} - {None}


def by_bucket(items: Iterable[Item], bucket_of: Callable[[Item], int]) -> list[tuple[int, list[Item]]]:
    """The items by bucket, in the order in which they came."""
    parts: dict[int, list[Item]] = {}
    for item in items:
        parts.setdefault(bucket_of(item), []).append(item)
    return sorted(parts.items())
