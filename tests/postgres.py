"""A real PostgreSQL for the tests: one server for the whole run, and a fresh migrated database for each test.

All workers of a run join the same embedded server; it ends with the last of them, also when they are killed.
Its folder belongs to the run and is removed at the run's end; what a killed run left is removed by the next one.
"""

import asyncio
import contextlib
import fcntl
import os
import secrets
import shutil
import tempfile
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import pytest

from app.db import embedded, schema
from app.db.embedded import binaries, client, root

T = TypeVar("T")

TEMPLATE = "template_migrated"
TEMPLATE_LOCK = 20_261_122  # any number that nothing else locks in this server
MEMORY = Path("/dev/shm")  # noqa: S108 - the folder made in it is the run's own
MEMORY_NEEDED = 3_000_000_000  # bytes: 1 GB of WAL at most, and a hundred databases of 8 MB, with as much to spare
PREFIX = f"makegood-tests-{os.geteuid()}-"
DIRECTORY = pytest.StashKey[Path]()
RUN_LOCK = pytest.StashKey[int]()


def scratch() -> Path:
    """Where clusters of tests are made: in memory where there is room.

    A new database is 300 files. Measured: 5 ms in memory, 40 to 95 ms on a disk.
    """
    if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= MEMORY_NEEDED:
        return MEMORY
    return Path(tempfile.gettempdir())


def pytest_configure(config: pytest.Config) -> None:
    """Gives the run its folder; a worker is told which one it is."""
    given = getattr(config, "workerinput", {}).get("postgres")
    if given is not None:
        config.stash[DIRECTORY] = Path(given)
        return
    base = scratch()
    for folder in {base, Path(tempfile.gettempdir())}:
        _sweep(folder)
    directory = base / f"{PREFIX}{secrets.token_hex(4)}"
    config.stash[DIRECTORY] = directory
    config.stash[RUN_LOCK] = os.open(f"{directory}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(config.stash[RUN_LOCK], fcntl.LOCK_EX)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tells a worker of the run's folder."""
    node.workerinput["postgres"] = str(node.config.stash[DIRECTORY])


def pytest_unconfigure(config: pytest.Config) -> None:
    """Removes the run's folder; its workers have ended."""
    if RUN_LOCK in config.stash:
        _remove(config.stash[DIRECTORY])
        os.close(config.stash[RUN_LOCK])


def _sweep(base: Path) -> None:
    for lock in base.glob(f"{PREFIX}*.lock"):
        with lock.open() as file, contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(lock.with_suffix(""))


def _remove(directory: Path) -> None:
    if directory.exists():
        place = root.settle(directory, binaries.find(), lambda _: None)
        client.wait_until_stopped(place)
        for folder in {directory, place.home}:
            shutil.rmtree(folder)
    directory.with_suffix(".lock").unlink()


class Databases:
    """Makes and drops databases, over one connection that stays open in a thread with a loop of its own.

    The tests' loops come and go, and a connection for each statement would cost more than the statement.
    """

    def __init__(self, server: embedded.EmbeddedServer) -> None:
        self._server = server
        self._made = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="databases", daemon=True)
        self._thread.start()
        self._connection: asyncpg.Connection[asyncpg.Record] = self._run(asyncpg.connect(server.url))

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def url(self, name: str) -> str:
        """The URL of a database of the shared server."""
        return self._server.url.replace("@/makegood?", f"@/{name}?")

    def create(self, template: str) -> str:
        """A new database, by its name."""
        self._made += 1
        name = f"t_{os.getpid()}_{self._made}"
        self._run(self._connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY"))
        return name

    def drop(self, name: str) -> None:
        """Drops a database, whoever is still connected."""
        self._run(self._connection.execute(f"DROP DATABASE {name} WITH (FORCE)"))

    def migrate_template(self) -> None:
        """Makes the template, unless another worker has."""
        self._run(self._migrate_template())

    async def _migrate_template(self) -> None:
        execute = self._connection.execute
        await execute(f"SELECT pg_advisory_lock({TEMPLATE_LOCK})")
        try:
            if not await self._connection.fetchval("SELECT count(*) FROM pg_database WHERE datname = $1", TEMPLATE):
                unfinished = f"{TEMPLATE}_unfinished"
                await execute(f"DROP DATABASE IF EXISTS {unfinished} WITH (FORCE)")
                await execute(f"CREATE DATABASE {unfinished}")
                await schema.upgrade(self.url(unfinished))
                await execute(f"ALTER DATABASE {unfinished} RENAME TO {TEMPLATE}")
        finally:
            await execute(f"SELECT pg_advisory_unlock({TEMPLATE_LOCK})")

    def close(self) -> None:
        """Ends the connection and its thread."""
        self._run(self._connection.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture(scope="session")
def databases(pytestconfig: pytest.Config) -> Iterator[Databases]:
    """The run's server, held by this worker, with its migrated template."""
    server = embedded.start(pytestconfig.stash[DIRECTORY], fsync=False)
    with contextlib.closing(server), contextlib.closing(Databases(server)) as databases:
        databases.migrate_template()
        yield databases


@pytest.fixture
def database_url(databases: Databases) -> Iterator[str]:
    """The URL of a migrated and empty database, this test's own."""
    name = databases.create(TEMPLATE)
    yield databases.url(name)
    databases.drop(name)


@pytest.fixture
def bare_database_url(databases: Databases) -> Iterator[str]:
    """The URL of a database without any table, for what migrates it."""
    name = databases.create("template0")
    yield databases.url(name)
    databases.drop(name)
