"""The schema: migrated from nothing it is what the tables say, and one at a time migrates it."""

import asyncio
from pathlib import Path

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

import app
from app.db import schema
from app.db.engine import AsyncEngine, connect, create
from app.db.queue_table import QueueRow
from app.db.reconciliations import ReconciliationRow
from app.db.refund_tables import ExternalRefundRow
from app.db.tables import OperationRow
from app.errors import DatabaseBehind, DatabaseUnavailable

# Each brings the tables of its module; the metadata is one for all.
DECLARED = (OperationRow, QueueRow, ExternalRefundRow, ReconciliationRow)
METADATA = DECLARED[0].metadata

CATALOG = """
SELECT conrelid::regclass::text AS place, conname::text AS name, pg_get_constraintdef(oid) AS rule FROM pg_constraint
 WHERE connamespace = 'public'::regnamespace
UNION ALL
SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL
SELECT table_name, column_name, concat_ws(' ', data_type, character_maximum_length, is_nullable, column_default)
  FROM information_schema.columns WHERE table_schema = 'public'
"""


async def catalog(url: str) -> dict[tuple[str, str], str]:
    """Every constraint, index and column of a database, but for those of alembic's own table."""
    connection = await connect(url)
    rows = await connection.fetch(f"SELECT * FROM ({CATALOG}) AS c WHERE place <> 'alembic_version'")
    await connection.close()
    return {(row["place"], row["name"]): row["rule"] for row in rows}


async def test_migrations_make_the_very_tables_that_the_models_declare(
    database_url: str, bare_database_url: str
) -> None:
    await schema.run(bare_database_url, METADATA.create_all)
    migrated, declared = await catalog(database_url), await catalog(bare_database_url)
    assert migrated == declared
    assert ("operations", "operations_never_wait_for_ever") in migrated
    assert "WHERE" in migrated["queue", "queue_due"]


async def test_alembic_finds_nothing_to_add(database_url: str) -> None:
    found: list[object] = []

    def compare(connection: Connection) -> None:
        found.extend(compare_metadata(MigrationContext.configure(connection), METADATA))

    await schema.run(database_url, compare)
    assert found == []


async def test_downgrade_to_base_removes_every_table(bare_database_url: str) -> None:
    await schema.upgrade(bare_database_url)
    await schema.downgrade(bare_database_url, "base")
    assert await catalog(bare_database_url) == {}
    await schema.upgrade(bare_database_url)
    assert await catalog(bare_database_url) != {}


async def test_processes_that_start_together_migrate_one_at_a_time(bare_database_url: str) -> None:
    await asyncio.gather(*(schema.upgrade(bare_database_url, buckets=4) for _ in range(4)))
    engine = create(bare_database_url, 1)
    await schema.check(engine)
    assert await schema.buckets(engine) == 4
    await engine.dispose()


async def test_the_number_of_buckets_is_fixed_when_the_database_is_made(database_url: str, engine: AsyncEngine) -> None:
    await schema.upgrade(database_url, buckets=32)
    assert await schema.buckets(engine) == 1


async def test_a_migration_gives_up_soon_on_a_lock_that_another_session_holds(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A migration that waits for a lock stops everybody behind it: so it does not wait."""
    monkeypatch.setattr(schema, "LOCK_TIMEOUT", "50ms")
    reader = await asyncpg.connect(database_url)
    async with reader.transaction():
        await reader.fetch("SELECT 1 FROM operations")
        with pytest.raises(DatabaseUnavailable, match="lock"):
            await schema.downgrade(database_url, "base")
    await reader.close()
    assert ("operations", "id") in await catalog(database_url)


async def test_a_database_without_tables_is_behind_and_the_command_is_named(bare_database_url: str) -> None:
    engine = create(bare_database_url, 1)
    with pytest.raises(DatabaseBehind, match="makegood migrate"):
        await schema.check(engine)
    await engine.dispose()


@pytest.mark.parametrize("revision", ["0000", "9999"])
async def test_a_database_of_another_makegood_is_refused(engine: AsyncEngine, database_url: str, revision: str) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})
    with pytest.raises(DatabaseBehind, match="does not know"):
        await schema.check(engine)
    with pytest.raises(DatabaseBehind, match="newer Makegood"):
        await schema.upgrade(database_url)


async def test_a_database_at_an_earlier_revision_is_behind_and_the_command_is_named(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest, *_ = schema._revisions()
    monkeypatch.setattr(schema, "_revisions", lambda: ("9999", newest))
    with pytest.raises(DatabaseBehind, match=rf"{newest}, and 9999 is needed\. Run `makegood migrate`"):
        await schema.check(engine)


async def test_a_database_that_cannot_be_reached_is_not_called_behind() -> None:
    engine = create("postgresql://makegood@127.0.0.1:1/makegood", 1)
    with pytest.raises(DatabaseUnavailable):
        await schema.check(engine)
    await engine.dispose()


def test_the_migrations_are_found_in_a_checkout_and_in_an_installed_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (schema._scripts() / "env.py").is_file()
    installed = tmp_path / "site-packages" / "app"
    (installed / "_alembic" / "alembic").mkdir(parents=True)
    monkeypatch.setattr(app, "__file__", str(installed / "__init__.py"))
    assert schema._scripts() == installed / "_alembic" / "alembic"
