"""After each repeat: was the work really done? Asked of the rows, and of the supplier."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from bench.postgres import Connection

# Seconds between two looks at what is done. A look costs a scan of the rows, and when they were done is read from their
# commits afterwards, so there is no need to look often.
POLL = 0.1

ACCEPTED = """
SELECT (SELECT count(*) FROM operations) AS operations,
       (SELECT count(DISTINCT external_id) FROM operations) AS payments,
       (SELECT count(*) FROM operations WHERE status = 'pending') AS pending,
       (SELECT count(*) FROM events WHERE status = 'accepted') AS events,
       (SELECT sum(deliveries) FROM events) AS deliveries,
       (SELECT count(*) FROM history) AS history,
       (SELECT count(*) FROM attempts) AS attempts
"""
SUCCEEDED = """
SELECT (SELECT count(*) FROM operations WHERE status = 'succeeded' AND external_id LIKE $1) AS succeeded,
       (SELECT count(*) FROM attempts AS a JOIN operations AS o ON o.bucket = a.bucket AND o.id = a.operation_id
         WHERE o.external_id LIKE $1) AS attempts,
       (SELECT count(*) FROM attempts AS a JOIN operations AS o ON o.bucket = a.bucket AND o.id = a.operation_id
         WHERE o.external_id LIKE $1 AND a.outcome = 'done' AND a.started_at <= a.finished_at
           AND a.request IS NOT NULL AND a.response IS NOT NULL) AS whole_attempts,
       (SELECT sum(revision) FROM operations WHERE external_id LIKE $1)
       - (SELECT count(*) FROM history AS h JOIN operations AS o ON o.bucket = h.bucket AND o.id = h.operation_id
           WHERE o.external_id LIKE $1) AS history_missing
"""
UNDER_WAY = "SELECT EXISTS (SELECT FROM operations WHERE status IN ('pending', 'processing', 'error', 'waiting'))"
DONE = "SELECT count(*) FROM done"
# When the last row came to its last state: the time of that commit, by the machine's clock.
LAST_OURS = "SELECT extract(epoch FROM max(pg_xact_commit_timestamp(xmin)))::float8 FROM operations"
LAST_PEER = "SELECT extract(epoch FROM max(pg_xact_commit_timestamp(xmin)))::float8 FROM done"
EACH_OURS = "SELECT external_id, extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 AS at FROM operations"
EACH_PEER = "SELECT external_id, extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 AS at FROM done"


class WorkNotDone(Exception):
    """A repeat whose figure would be of something else."""


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
    equal(dict((await connection.fetchrow(SUCCEEDED, f"{tag}\\_%")) or {}), wanted, f"succeeded of {tag}")


async def peer_done(connection: Connection, tag: str, count: int) -> None:
    """A peer has marked every payment of the tag, each once by its key. Raises WorkNotDone."""
    statement = "SELECT count(*) FROM done WHERE external_id LIKE $1"
    equal({"done": await connection.fetchval(statement, f"{tag}\\_%")}, {"done": count}, f"done of {tag}")


async def ours_left(connection: Connection) -> bool:
    """Whether anything of ours is still under way."""
    return bool(await connection.fetchval(UNDER_WAY))


def peer_left(count: int) -> Callable[[Connection], Awaitable[bool]]:
    """Whether a peer has still something to do."""

    async def left(connection: Connection) -> bool:
        return int(await connection.fetchval(DONE)) < count

    return left


async def until_over(left: Callable[[Connection], Awaitable[bool]], connection: Connection, seconds: float) -> int:
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
