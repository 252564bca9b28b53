"""After each repeat: was the work really done? Asked of the rows, and of the supplier."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from bench.postgres import Connection

# Seconds between two looks at what is done. A look costs a scan of the rows, and when they were done is read from their
# commits afterwards, so there is no need to look often.
POLL = 0.1

# Statements of ours that may run while the service's are counted say that they are ours.

ACCEPTED = """
SELECT (SELECT count(*) FROM operations) AS operations,
       (SELECT count(DISTINCT external_id) FROM operations) AS payments,
       (SELECT count(*) FROM operations WHERE status = 'pending') AS pending,
       (SELECT count(*) FROM events WHERE status = 'accepted') AS events,
       (SELECT sum(deliveries) FROM events) AS deliveries,
       (SELECT count(*) FROM history) AS history,
       (SELECT count(*) FROM attempts) AS attempts
"""
# The payments of one load, by the range of their ids ($1, $2), and what belongs to them.
SUCCEEDED = """
WITH wanted AS MATERIALIZED (
    SELECT bucket, serial, status, revision FROM operations WHERE external_id >= $1 AND external_id < $2
)
SELECT /* bench */ (SELECT count(*) FROM wanted WHERE status = 'succeeded') AS succeeded,
       (SELECT count(*) FROM wanted JOIN attempts AS a ON a.bucket = wanted.bucket AND a.operation_serial = wanted.serial) AS attempts,
       (SELECT count(*) FROM wanted JOIN attempts AS a ON a.bucket = wanted.bucket AND a.operation_serial = wanted.serial
         WHERE a.outcome = 'done' AND a.started_at <= a.finished_at AND a.request IS NOT NULL AND a.response IS NOT NULL)
       AS whole_attempts,
       (SELECT sum(revision) FROM wanted)
       - (SELECT count(*) FROM wanted JOIN history AS h ON h.bucket = wanted.bucket AND h.operation_serial = wanted.serial)
       AS history_missing
"""
# What is due in an hour is due later; a retry would not be.
UNDER_WAY = """
SELECT /* bench */ EXISTS (SELECT FROM queue WHERE next_run_at < now() + interval '1 hour')
    OR EXISTS (SELECT FROM queue WHERE complete_by IS NOT NULL)
"""
# When a row came to its last state: the time of that commit, by the machine's clock.
EACH_OURS = """
SELECT /* bench */ external_id, extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 AS at
  FROM operations WHERE external_id >= $1 AND external_id < $2
"""
EACH_PEER = EACH_OURS.replace("operations", "done")
# From the moment before the first claim to the last commit, in seconds.
WORKED = """
SELECT extract(epoch FROM max(pg_xact_commit_timestamp(o.xmin)) - min(h.at))::float8
  FROM operations AS o
  JOIN history AS h ON h.bucket = o.bucket AND h.operation_serial = o.serial AND h.revision = 2
 WHERE o.external_id >= $1 AND o.external_id < $2
"""
DONE = "SELECT count(*) FROM done"

Left: TypeAlias = Callable[[Connection], Awaitable[bool]]


class WorkNotDone(Exception):
    """A repeat whose figure would be of something else."""


def reach(tag: str) -> tuple[str, str]:
    """The range of the ids of a load's payments: from this one on, and below that one."""
    return f"{tag}_", f"{tag}`"


def equal(found: Mapping[Any, Any], wanted: Mapping[Any, Any], where: str) -> None:
    """Raises WorkNotDone where a count is not what it must be."""
    wrong = [f"{name} {found.get(name)}, not {value}" for name, value in wanted.items() if found.get(name) != value]
    if wrong:
        raise WorkNotDone(f"{where}: {'; '.join(wrong)}")


async def accepted(connection: Connection, count: int, *, deliveries: int) -> None:
    """All payments are stored once, with their events and histories, and none was begun. Raises WorkNotDone."""
    names = ("operations", "payments", "pending", "events", "history")
    wanted = dict.fromkeys(names, count) | {"deliveries": deliveries, "attempts": 0}
    equal(dict((await connection.fetchrow(ACCEPTED)) or {}), wanted, "accepted")


async def succeeded(connection: Connection, tag: str, count: int) -> None:
    """All payments of the tag have succeeded with one whole attempt and every revision in the history. Raises WorkNotDone."""
    wanted = dict.fromkeys(("succeeded", "attempts", "whole_attempts"), count) | {"history_missing": 0}
    equal(dict((await connection.fetchrow(SUCCEEDED, *reach(tag))) or {}), wanted, f"succeeded of {tag}")


async def peer_done(connection: Connection, tag: str, count: int) -> None:
    """A peer has marked every payment of the tag, each once by its key. Raises WorkNotDone."""
    found = await connection.fetchval(f"{DONE} WHERE external_id >= $1 AND external_id < $2", *reach(tag))
    equal({"done": found}, {"done": count}, f"done of {tag}")


async def ours_left(connection: Connection) -> bool:
    """Whether anything of ours is still under way."""
    return bool(await connection.fetchval(UNDER_WAY))


def peer_left(count: int) -> Left:
    """Whether a peer has still something to do."""

    async def left(connection: Connection) -> bool:
        return int(await connection.fetchval(DONE)) < count

    return left


async def until_over(left: Left, connection: Connection, seconds: float) -> int:
    """Waits until nothing is left; returns how often it has looked, each time in a transaction of its own.

    Raises:
        WorkNotDone: something is left when the time is over.
    """
    looked = 1
    try:
        async with asyncio.timeout(seconds):
            while await left(connection):
                looked += 1
                await asyncio.sleep(POLL)
    except TimeoutError as error:
        raise WorkNotDone(f"something was still under way after {seconds:g} s") from error
    return looked
