"""A look into the service's database from the side: who waits there, and a hand on what he waits for."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg

from tests.road.service import until

# Other tests have their databases on the same server.
_WHERE_BLOCKED = "FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query ~ $1"
BLOCKED = f"SELECT count(*) {_WHERE_BLOCKED}"
END_BLOCKED = f"SELECT count(pg_terminate_backend(pid)) {_WHERE_BLOCKED}"
# The names of the statements that payments, claims, and the two halves of the atomic phase are written with.
STORE = "/\\* store \\*/"
CLAIM = "/\\* take \\*/"
BEGIN = "/\\* (store|take|begin) \\*/"
RECORD = "/\\* record \\*/"

# Breaks every other connection to the database.
TERMINATE = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid()
"""

OPEN_ATTEMPT = """
INSERT INTO attempts (bucket, operation_id, lease, step, action, attempt, worker, request, started_at)
VALUES (0, $1, $2, 'held', 'do', 1, 'nobody', '{}', now())
"""


class Watch:
    """A connection that looks, and others that hold."""

    def __init__(self, url: str, connection: "asyncpg.Connection[Any]") -> None:
        self._url = url
        self.connection = connection

    async def ask(self, query: str, *arguments: object) -> Any:
        """The one value of a query."""
        return await self.connection.fetchval(query, *arguments)

    async def until_blocked(self, words: str, sessions: int = 1) -> None:
        """Waits until as many sessions wait for a lock in a statement with these words."""

        async def blocked() -> bool:
            found: int = await self.ask(BLOCKED, words)
            return found >= sessions

        await until(blocked)

    async def end_blocked(self, words: str) -> None:
        """Ends the sessions that wait for a lock in a statement with these words: as if it had never arrived.

        A server carries out to its end what it was sent, also where who has sent it is dead.
        """
        assert await self.ask(END_BLOCKED, words) >= 1

    @contextlib.asynccontextmanager
    async def before_the_call(self, operation_id: str, lease: int) -> AsyncIterator[None]:
        """While the block runs, the call under this lease cannot be put on record: so it does not go out.

        Another transaction has put an attempt of that name on record and not committed it; in the end it never does.
        """
        async with self.holding() as connection:
            # No foreign key is checked: its lock on the operation would keep the claim away as well.
            await connection.execute("SET LOCAL session_replication_role = replica")
            await connection.execute(OPEN_ATTEMPT, UUID(operation_id), lease)
            yield

    @contextlib.asynccontextmanager
    async def before_the_record(self, operation_id: str) -> AsyncIterator[None]:
        """While the block runs, nothing can be written over the operation."""
        async with self.holding() as connection:
            await connection.execute("SELECT 1 FROM operations WHERE id = $1 FOR UPDATE", UUID(operation_id))
            yield

    @contextlib.asynccontextmanager
    async def holding(self) -> AsyncIterator["asyncpg.Connection[Any]"]:
        """A transaction that is open while the block runs, and is then rolled back."""
        connection = await asyncpg.connect(self._url)
        try:
            await connection.execute("BEGIN")
            yield connection
        finally:
            connection.terminate()


@contextlib.asynccontextmanager
async def watching(url: str) -> AsyncIterator[Watch]:
    """Looks into a database while the block runs."""
    connection = await asyncpg.connect(url)
    try:
        yield Watch(url, connection)
    finally:
        await connection.close()
