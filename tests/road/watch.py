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

# Whoever puts a call on record first takes the lock of its name: the operation's id, whose lower digits are the serial's
# too, so that it is known before the operation is; and the lease.
GATE = """
CREATE OR REPLACE FUNCTION pass_the_gate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(right(NEW.operation_serial::text, 21) || NEW.lease, 0));
    RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER gate BEFORE INSERT ON attempts FOR EACH ROW EXECUTE FUNCTION pass_the_gate()
"""
CLOSE_GATE = "SELECT pg_advisory_xact_lock(hashtextextended(right($1::text, 21) || $2::int, 0))"


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

        It need not be stored yet.
        """
        await self.connection.execute(GATE)
        async with self.holding() as connection:
            await connection.execute(CLOSE_GATE, operation_id, lease)
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
