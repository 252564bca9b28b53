"""What is emptied once it was kept long enough: in small batches, each its own transaction, until none is left.

A finished operation keeps its row, and with it what a redelivery is compared with: it stays a duplicate for ever.
Unprocessable and conflicting events stay until a human has looked at them, and accepted ones stay as what payments are
counted by. What was told of refunds goes with its operation; where no payment ever came, when it is old.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.engine import AsyncEngine, translated
from app.db.schema import buckets

# Rows in one transaction: some ten milliseconds of locks on rows that hardly anybody looks at.
BATCH = 500

# What is locked is passed over: somebody is opening it again, and it is looked at another time.
# Once stripped, an operation has no history by which it would be found again.
FINISHED = text("""
SELECT o.serial
  FROM history AS h
  JOIN operations AS o ON o.bucket = h.bucket AND o.serial = h.operation_serial
 WHERE h.bucket = :bucket AND h.to_status IN ('succeeded', 'refunded') AND h.at < :before AND o.finished_at < :before
 ORDER BY h.at
 LIMIT :most
   FOR UPDATE OF o SKIP LOCKED
""")

STRIP = (
    text("DELETE FROM attempts WHERE bucket = :bucket AND operation_serial = ANY(:keys)"),
    text("DELETE FROM history WHERE bucket = :bucket AND operation_serial = ANY(:keys)"),
    text("""
DELETE FROM external_refunds
 WHERE bucket = :bucket
   AND operation_id = ANY(ARRAY(SELECT id FROM operations WHERE bucket = :bucket AND serial = ANY(:keys)))
"""),
    text("""
UPDATE events
   SET payload = NULL
 WHERE bucket = :bucket AND operation_serial = ANY(:keys) AND status = 'accepted'
"""),
    text("""
UPDATE operations
   SET steps = '[]', last_error = NULL, reason = NULL, traceparent = NULL, stripped_at = now()
 WHERE bucket = :bucket AND serial = ANY(:keys)
"""),
)

# One statement a status, each in the order of its index.
OLD_EVENTS = {
    status: text(f"""
SELECT id
  FROM events
 WHERE bucket = :bucket AND status = '{status}' AND received_at < :before
 ORDER BY received_at
 LIMIT :most
   FOR UPDATE SKIP LOCKED
""")
    for status in ("ignored", "duplicate")
}
DROP_EVENTS = (text("DELETE FROM events WHERE bucket = :bucket AND id = ANY(:keys)"),)

# A provider tells of the refunds of all that is paid by an account, also of payments that are none of ours.
OLD_TOLD = text("""
SELECT operation_id
  FROM external_refunds AS told
 WHERE bucket = :bucket AND told_at < :before
   AND NOT EXISTS (SELECT FROM operations AS known
                    WHERE known.bucket = told.bucket AND known.id = told.operation_id AND known.stripped_at IS NULL)
 LIMIT :most
   FOR UPDATE OF told SKIP LOCKED
""")
DROP_TOLD = (
    text("DELETE FROM external_refunds WHERE bucket = :bucket AND operation_id = ANY(:keys) AND told_at < :before"),
)

# Given back at once, but for those of a process that could not, or of an operation that an event has ended.
OLD_CLAIMS = text("""
SELECT operation_id
  FROM refund_claims AS held
 WHERE taken_at < :before
   AND EXISTS (SELECT FROM operations AS ended
                WHERE ended.bucket = :bucket AND ended.id = held.operation_id AND ended.finished_at IS NOT NULL)
 LIMIT :most
   FOR UPDATE OF held SKIP LOCKED
""")
DROP_CLAIMS = (text("DELETE FROM refund_claims WHERE operation_id = ANY(:keys)"),)

OLD_RECEIPTS = text("DELETE FROM operator_requests WHERE created_at < :before")


async def strip_finished(engine: AsyncEngine, before: datetime) -> int:
    """Strips operations that finished before a time; at most a batch of each bucket.

    Returns:
        How many there were; call it again until there are none.

    Raises:
        DatabaseUnavailable: the database went away; what was committed is done.
    """
    return await _sweep(engine, FINISHED, STRIP, before)


async def drop_events(engine: AsyncEngine, before: datetime) -> int:
    """Drops ignored events, and second events of a known payment, that came before a time; at most a batch of each.

    Returns:
        How many there were; call it again until there are none.

    Raises:
        DatabaseUnavailable: the database went away; what was committed is done.
    """
    return sum([await _sweep(engine, old, DROP_EVENTS, before) for old in OLD_EVENTS.values()])


async def drop_refunds_told(engine: AsyncEngine, before: datetime) -> int:
    """Drops what was told before a time of the refunds of payments that never came; at most a batch of each bucket.

    Returns:
        How many there were; call it again until there are none.

    Raises:
        DatabaseUnavailable: the database went away; what was committed is done.
    """
    return await _sweep(engine, OLD_TOLD, DROP_TOLD, before)


async def drop_refund_claims(engine: AsyncEngine, before: datetime) -> int:
    """Drops turns that were taken before a time by operations that are final now; at most a batch of each bucket.

    Returns:
        How many there were; call it again until there are none.

    Raises:
        DatabaseUnavailable: the database went away; what was committed is done.
    """
    return await _sweep(engine, OLD_CLAIMS, DROP_CLAIMS, before)


async def drop_receipts(engine: AsyncEngine, before: datetime) -> int:
    """Drops the answers to operators' calls that were given before a time; there are never many.

    Returns:
        How many there were.

    Raises:
        DatabaseUnavailable: the database cannot be reached.
    """
    with translated():
        async with engine.begin() as connection:
            return (await connection.execute(OLD_RECEIPTS, {"before": before})).rowcount


async def _sweep(engine: AsyncEngine, which: TextClause, statements: Sequence[TextClause], before: datetime) -> int:
    touched = 0
    for bucket in range(await buckets(engine)):
        with translated():
            async with engine.begin() as connection:
                touched += await _sweep_bucket(connection, which, statements, bucket, before)
    return touched


async def _sweep_bucket(
    connection: AsyncConnection, which: TextClause, statements: Sequence[TextClause], bucket: int, before: datetime
) -> int:
    named: dict[str, Any] = {"bucket": bucket, "before": before, "most": BATCH}
    keys = list(set(await connection.scalars(which, named)))  # what has finished twice is named twice
    if keys:
        for statement in statements:
            await connection.execute(statement, {**named, "keys": keys})
    return len(keys)
