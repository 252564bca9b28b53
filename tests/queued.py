"""What is written beside an operation says what the operation says: asked after the service, and mended after a test's own hand."""

from typing import Any

import asyncpg

_OPERATIONS = """
SELECT bucket, serial, next_run_at, complete_by FROM operations WHERE coalesce(next_run_at, complete_by) IS NOT NULL
"""
_QUEUE = "SELECT bucket, operation_serial, next_run_at, complete_by FROM queue"
STRAYS = f"""
SELECT (SELECT count(*) FROM (({_OPERATIONS} EXCEPT {_QUEUE}) UNION ALL ({_QUEUE} EXCEPT {_OPERATIONS})) AS strays)
     + (SELECT count(*)
          FROM (SELECT bucket, operation_serial FROM history UNION ALL SELECT bucket, operation_serial FROM attempts) AS part
         WHERE NOT EXISTS (SELECT FROM operations AS o WHERE o.bucket = part.bucket AND o.serial = part.operation_serial))
"""
ENDED = """
INSERT INTO history (bucket, operation_serial, revision, transition, from_phase, from_status, to_phase, to_status, cause,
                     actor, at)
SELECT bucket, serial, revision + 1, id, phase, 'processing', phase, status, 'step_done', 'worker-1', finished_at
  FROM operations AS o
 WHERE finished_at IS NOT NULL
   AND NOT EXISTS (SELECT FROM history AS h
                    WHERE h.bucket = o.bucket AND h.operation_serial = o.serial AND h.to_status = o.status)
"""


async def in_step(url: str) -> bool:
    """Whether nothing of a database's queue has gone astray."""
    connection = await asyncpg.connect(url)
    try:
        return await strays(connection) == 0
    finally:
        await connection.close()


async def strays(connection: Any) -> int:
    """How many operations are under way and not in the queue as they say, or in it and not under way; and rows of none."""
    found: int = await connection.fetchval(STRAYS)
    return found


async def put_in_step(connection: Any) -> None:
    """After operations were changed by hand: the queue says what they say, and those that ended have that in their history."""
    await connection.execute("DELETE FROM queue")
    await connection.execute(f"INSERT INTO queue (bucket, operation_serial, next_run_at, complete_by) {_OPERATIONS}")
    await connection.execute(ENDED)
