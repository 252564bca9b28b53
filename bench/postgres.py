"""PostgreSQL for the bench: the embedded server's programs with a data folder of their own, the same for all sides.

Its settings are the embedded server's: those of PostgreSQL, but `max_connections` 200 and `shared_buffers` 64 MB; fsync
and synchronous_commit are on. One is added, `track_commit_timestamp`: when a row was finished is read from the commit
that finished it, on every side alike.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg

from app.db import embedded

OURS = "bench_"  # begins the names of our databases
SETTINGS = {"track_commit_timestamp": "on"}
# For the repeat that counts statements: it costs something for each of them, so no rate is taken with it.
COUNTING = {**SETTINGS, "shared_preload_libraries": "pg_stat_statements"}
SESSIONS_LIMIT = 90.0  # seconds; an autovacuum is one as well
STATEMENT_LIMIT = 3600.0  # seconds; ten million rows take their time

COMMITTED = "SELECT coalesce(sum(xact_commit), 0) FROM pg_stat_database WHERE datname = ANY($1::text[])"
SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE datname = ANY($1::text[])"
EVERY = "SELECT datname FROM pg_database WHERE starts_with(datname, $1)"
FAMILY = "SELECT datname FROM pg_database WHERE datname = $1 OR starts_with(datname, $1 || '_')"

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@dataclass(frozen=True, slots=True)
class Counters:
    """What the server has counted: transactions of one database; WAL and its syncs of the whole server, which has no other work."""

    transactions: int
    wal_bytes: int
    fsyncs: int

    def since(self, before: "Counters") -> "Counters":
        """What was added."""
        return Counters(
            self.transactions - before.transactions, self.wal_bytes - before.wal_bytes, self.fsyncs - before.fsyncs
        )


class Postgres:
    """A running server. Use `start`."""

    def __init__(self, server: embedded.EmbeddedServer, connection: Connection) -> None:
        self._server = server
        self._connection = connection
        self._made = 0

    @classmethod
    async def start(cls, folder: Path, settings: Mapping[str, str] = SETTINGS) -> "Postgres":
        """Starts the server of this folder, with these settings beside its own, and clears what a killed run has left."""
        server = await asyncio.to_thread(embedded.start, folder)
        connection = await asyncpg.connect(server.url, command_timeout=STATEMENT_LIMIT)
        if not await _has(connection, settings):
            for name, value in settings.items():
                await connection.execute(f"ALTER SYSTEM SET {name} = {value}")
            await connection.close()
            server.close()
            server = await asyncio.to_thread(embedded.start, folder)  # it waits for the end of the last one
            connection = await asyncpg.connect(server.url, command_timeout=STATEMENT_LIMIT)
        postgres = cls(server, connection)
        await postgres.clear()
        return postgres

    async def close(self) -> None:
        """Drops what was made and gives the server up; it stops."""
        await self.clear()
        await self._connection.close()
        self._server.close()

    async def clear(self) -> None:
        """Drops every database of the bench."""
        for row in await self._connection.fetch(EVERY, OURS):
            await self._connection.execute(f"DROP DATABASE {row['datname']} WITH (FORCE)")

    @property
    def folder(self) -> Path:
        """Where the data really is."""
        return self._server.data_dir

    def postmaster(self) -> int:
        """The server's first process."""
        (file,) = self._server.data_dir.glob("pg*/postmaster.pid")
        return int(file.read_text().splitlines()[0])

    def url(self, name: str) -> str:
        """The URL of a database."""
        return self._server.url.replace("@/makegood?", f"@/{name}?")

    async def create(self, template: str = "template0") -> str:
        """A new database, by its name; nothing of it waits to be written."""
        self._made += 1
        name = f"{OURS}{self._made}"
        # As files: a copy through the log would leave its writing to the repeat that comes after it.
        await self._connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        return name

    async def drop(self, name: str) -> None:
        """Drops a database, with those that a peer has made beside it, whoever is still connected."""
        for each in await self._family(name):
            await self._connection.execute(f"DROP DATABASE {each} WITH (FORCE)")

    async def connect(self, name: str) -> Connection:
        """A connection to a database; the caller closes it."""
        return await asyncpg.connect(self.url(name), command_timeout=STATEMENT_LIMIT)

    async def checkpoint(self) -> None:
        """Writes all that waits: every repeat begins alike."""
        await self._connection.execute("CHECKPOINT")

    async def counters(self, name: str) -> Counters:
        """What was counted by now. Whoever used the database has closed his connections: a session counts at its end.

        Raises:
            TimeoutError: somebody has not.
        """
        fetch = self._connection.fetchval
        async with asyncio.timeout(SESSIONS_LIMIT):
            while await fetch(SESSIONS, await self._family(name)):
                await asyncio.sleep(0.01)
        await self._connection.execute("SELECT pg_stat_clear_snapshot()")
        statement = "SELECT coalesce(sum(fsyncs), 0) FROM pg_stat_io WHERE object = 'wal'"
        if self._connection.get_server_version().major < 18:  # where the count has moved to
            statement = "SELECT wal_sync FROM pg_stat_wal"
        return Counters(
            int(await fetch(COMMITTED, await self._family(name))),
            int(await fetch("SELECT wal_bytes FROM pg_stat_wal")),
            int(await fetch(statement)),
        )

    async def _family(self, name: str) -> list[str]:
        """The database, and those whose names begin with its own: a peer may keep its books in one of them."""
        rows = await self._connection.fetch(FAMILY, name)
        return [row["datname"] for row in rows]

    async def settings(self) -> dict[str, str]:
        """The settings that decide most, as the server has them."""
        names = ["fsync", "synchronous_commit", "shared_buffers", "max_wal_size", "wal_sync_method", *SETTINGS]
        rows = await self._connection.fetch(
            "SELECT name, current_setting(name) AS value FROM pg_settings WHERE name = ANY($1::text[])", names
        )
        version = await self._connection.fetchval("SHOW server_version")
        return {"postgresql": version, **{row["name"]: row["value"] for row in rows}}


async def _has(connection: Connection, settings: Mapping[str, Any]) -> bool:
    return all(
        [await connection.fetchval("SELECT current_setting($1)", name) == value for name, value in settings.items()]
    )
