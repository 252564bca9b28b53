"""The schema: brought up to date, and checked to be so. The migrations lie in `alembic/`.

In a checkout that folder lies beside `app`; in an installed wheel it lies in `app/_alembic`.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from weakref import WeakKeyDictionary

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import ProgrammingError

import app
from app.db.engine import AsyncEngine, create_for_migrations, translated
from app.errors import DatabaseBehind

# Whoever migrates holds this advisory lock until he commits, so that of two that start at once the second finds all
# done. Any number does that no other program on the database uses; this one spells "made" in ASCII.
MIGRATION_LOCK = 0x6D616465
# A migration that waits for a lock stops all who come after it. So it gives up soon, and is run again later.
LOCK_TIMEOUT = "5s"

UNDEFINED_TABLE = "42P01"
MIGRATE = "Run `makegood migrate`."

_dealt: WeakKeyDictionary[Engine, int] = WeakKeyDictionary()


async def upgrade(url: str, *, buckets: int = 1) -> None:
    """Brings the database up to date; once more does nothing.

    Args:
        url: of the database, which exists.
        buckets: into how many the rows are dealt; counts only when the database is new, and never changes then.

    Raises:
        DatabaseUnavailable: it cannot be reached, or another session holds a lock that is needed.
        DatabaseBehind: the schema is newer than this program.
    """

    def to_head(connection: Connection) -> None:
        command.upgrade(_config(connection), "head")
        connection.execute(
            text("INSERT INTO installation (single, buckets) VALUES (true, :buckets) ON CONFLICT DO NOTHING"),
            {"buckets": buckets},
        )

    try:
        await run(url, to_head)
    except CommandError as error:
        raise DatabaseBehind(f"The database cannot be migrated: {error}. Is it of a newer Makegood?") from error


async def downgrade(url: str, revision: str) -> None:
    """Takes the database back to an earlier revision; `base` removes every table.

    Raises:
        DatabaseUnavailable: it cannot be reached, or another session holds a lock that is needed.
    """
    await run(url, lambda connection: command.downgrade(_config(connection), revision))


async def run(url: str, work: Callable[[Connection], None]) -> None:
    """Runs `work` in one transaction, alone among all that migrate this database.

    The lock is the transaction's, not the session's: a pooler may give the session to somebody else.

    Raises:
        DatabaseUnavailable: the database cannot be reached, or another session holds a lock that is needed.
    """
    engine = create_for_migrations(url)
    with translated():
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})
            await connection.execute(text("SELECT set_config('lock_timeout', :limit, true)"), {"limit": LOCK_TIMEOUT})
            await connection.run_sync(work)


async def check(engine: AsyncEngine) -> None:
    """Makes sure that the schema is the one this program was written for.

    Raises:
        DatabaseBehind: it is not; the message names the command to run.
        DatabaseUnavailable: the database cannot be reached.
    """
    with translated():
        try:
            async with engine.connect() as connection:
                found = await connection.scalar(text("SELECT version_num FROM alembic_version"))
        except ProgrammingError as error:
            if getattr(error.orig, "sqlstate", None) != UNDEFINED_TABLE:
                raise
            raise DatabaseBehind(f"The database has no tables yet. {MIGRATE}") from error
    known = _revisions()
    if found not in known:
        raise DatabaseBehind(f"The database is at revision {found}, which this Makegood does not know: it is older.")
    if found != known[0]:
        raise DatabaseBehind(f"The database is at revision {found}, and {known[0]} is needed. {MIGRATE}")


async def buckets(engine: AsyncEngine) -> int:
    """Into how many buckets this database deals its rows. Read once an engine: it was fixed when the database was made.

    Raises:
        DatabaseUnavailable: the database cannot be reached.
    """
    known = _dealt.get(engine.sync_engine)
    if known is None:
        with translated():
            async with engine.connect() as connection:
                known = int(await connection.scalar(text("SELECT buckets FROM installation")))
        _dealt[engine.sync_engine] = known
    return known


@cache
def _revisions() -> tuple[str, ...]:
    """All revisions that this program knows, the newest first."""
    return tuple(script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions())


def _config(connection: Connection | None = None) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_scripts()).replace("%", "%%"))
    return config


def _scripts() -> Path:
    """The folder of the migrations."""
    package = Path(app.__file__).parent
    installed = package / "_alembic" / "alembic"
    return installed if installed.is_dir() else package.parent / "alembic"
