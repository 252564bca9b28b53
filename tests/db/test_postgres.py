"""The tests' own databases: each is migrated, empty, and nobody else's."""

import asyncpg


async def tables(url: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        found = await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        assert isinstance(found, int)
        return found
    finally:
        await connection.close()


async def test_a_tests_database_is_migrated_and_its_own(database_url: str) -> None:
    assert await tables(database_url) > 1
    assert "/t_" in database_url


async def test_a_bare_database_has_no_table(bare_database_url: str) -> None:
    assert await tables(bare_database_url) == 0


async def test_a_connection_left_open_does_not_keep_a_database(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    connection.terminate()
    assert connection.is_closed()
