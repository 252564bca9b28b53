"""How the database is reached, and what is said when it is away."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, ProgrammingError

from app.clock import DatabaseClock
from app.db import engine as engines
from app.db.engine import AsyncEngine, connect, create, reach, synchronise, translated
from app.errors import DatabaseUnavailable

NOBODY_LISTENS = "postgresql://makegood@127.0.0.1:1/makegood"


@asynccontextmanager
async def connected(url: str) -> AsyncIterator["asyncpg.Connection[Any]"]:
    connection = await connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def pid_of(engine: AsyncEngine) -> int:
    with translated():
        async with engine.connect() as connection:
            return int((await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one())


async def terminate(url: str, pid: int) -> None:
    async with connected(url) as connection:
        await connection.fetchval("SELECT pg_terminate_backend($1, 5000)", pid)


async def test_every_session_speaks_utc_and_says_who_it_is(engine: AsyncEngine, database_url: str) -> None:
    asked = "SELECT current_setting('TimeZone') || ' ' || current_setting('application_name')"
    async with engine.connect() as connection:
        assert (await connection.execute(text(asked))).scalar_one() == "UTC makegood"
    async with connected(database_url) as own:
        assert await own.fetchval(asked) == "UTC makegood"


@pytest.mark.parametrize(
    "form",
    [
        lambda url: url.replace("postgresql://", "postgresql+asyncpg://"),
        lambda url: url.replace("postgresql://", "postgres://"),
        lambda url: f"{url}&sslmode=prefer",
        lambda url: re.sub(r"host=([^&]*)&port=(\d+)", r"host=/nowhere,\1&port=\2,\2", url),
        lambda url: f"{url}&prepared_statement_cache_size=0",
        lambda url: f"{url}&application_name=mine",
    ],
    ids=["driver named", "short scheme", "sslmode", "several hosts", "no cache", "application name"],
)
async def test_urls_are_taken_as_psql_takes_them(database_url: str, form: Any) -> None:
    url = form(database_url)
    engine = create(url, 1)
    async with connected(url) as own, engine.connect() as pooled:
        name = await own.fetchval("SHOW application_name")
        assert (await pooled.execute(text("SHOW application_name"))).scalar_one() == name
        assert name == ("mine" if "application_name" in url else "makegood")
    await engine.dispose()


async def test_of_several_hosts_a_read_only_one_is_not_taken(database_url: str) -> None:
    async with connected(database_url) as own:
        database = await own.fetchval("SELECT current_database()")
        await own.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    url = re.sub(r"host=([^&]*)&port=(\d+)", r"host=\1,\1&port=\2,\2", database_url)
    with pytest.raises(DatabaseUnavailable, match="written"):
        await connect(url)


@pytest.mark.parametrize(
    "url", [NOBODY_LISTENS, "postgresql://makegood@/makegood?host=/nowhere", "mysql://somewhere/else"]
)
async def test_a_server_that_cannot_be_reached_is_unavailable(url: str) -> None:
    with pytest.raises(DatabaseUnavailable):
        await connect(url)
    engine = create(url, 1)
    with pytest.raises(DatabaseUnavailable):
        await pid_of(engine)
    await engine.dispose()


async def test_the_start_waits_for_a_server_that_is_starting_as_well(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0

    async def starting(url: str) -> "asyncpg.Connection[Any]":
        nonlocal tries
        tries += 1
        if tries < 3:
            raise DatabaseUnavailable("the server is starting up")
        return await connect(url)

    monkeypatch.setattr(engines, "connect", starting)
    await reach(database_url)
    assert tries == 3


async def test_the_start_gives_up_on_a_server_that_never_comes() -> None:
    with pytest.raises(DatabaseUnavailable):
        await reach(NOBODY_LISTENS, patience=0.1)


@pytest.mark.parametrize(
    ("old", "new"), [(r"/t_\w+\?", "/nobodys?"), (r":[^@/]+@", ":wrong@")], ids=["database", "password"]
)
async def test_the_start_does_not_wait_for_a_server_that_does_not_let_us_in(
    database_url: str, old: str, new: str
) -> None:
    async with asyncio.timeout(10):
        with pytest.raises(DatabaseUnavailable, match="let us in") as refused:
            await reach(re.sub(old, new, database_url), patience=60)
    assert "wrong" not in str(refused.value)


async def test_a_statement_that_takes_too_long_is_given_up_on_this_side(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "connect", partial(connect, command_timeout=0.05))
    engine = create(database_url, 1)
    with pytest.raises(DatabaseUnavailable, match="in time"), translated():
        async with engine.connect() as connection:
            await connection.execute(text("SELECT pg_sleep(30)"))
    await engine.dispose()


async def test_after_a_broken_connection_the_pool_makes_new_ones(engine: AsyncEngine, database_url: str) -> None:
    pid = await pid_of(engine)
    assert await pid_of(engine) == pid
    await terminate(database_url, pid)
    with pytest.raises(DatabaseUnavailable):
        await pid_of(engine)
    assert await pid_of(engine) != pid


async def test_a_connection_to_a_server_that_became_a_standby_is_not_used_again(engine: AsyncEngine) -> None:
    """After a failover the old primary still answers, and refuses every write."""
    pid = await pid_of(engine)
    async with engine.connect() as connection:
        await connection.execute(text("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"))
        await connection.commit()
    with pytest.raises(DatabaseUnavailable, match="read-only"), translated():
        async with engine.begin() as connection:
            await connection.execute(text("DELETE FROM events"))
    assert await pid_of(engine) != pid


async def test_who_finds_every_connection_in_use_is_told_soon(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "POOL_TIMEOUT", 0.05)
    engine = create(database_url, 1)
    async with engine.connect():
        with pytest.raises(DatabaseUnavailable, match="in use"):
            await pid_of(engine)
    await engine.dispose()


@pytest.mark.parametrize(
    "state", ["57P01", "57P02", "57P03", "53300", "53100", "25006", "08006", "57014", "55P03"], ids=str
)
async def test_states_in_which_the_server_cannot_serve_are_unavailable(database_url: str, state: str) -> None:
    async with connected(database_url) as own:
        with pytest.raises(DatabaseUnavailable), translated():
            await own.execute(f"DO $$ BEGIN RAISE EXCEPTION 'so it is' USING ERRCODE = '{state}'; END $$")


@pytest.mark.parametrize("state", ["40P01", "40001", "23505", "22003"])
async def test_other_errors_pass_as_they_are(database_url: str, state: str) -> None:
    async with connected(database_url) as own:
        with pytest.raises(asyncpg.PostgresError, match="so it is"), translated():
            await own.execute(f"DO $$ BEGIN RAISE EXCEPTION 'so it is' USING ERRCODE = '{state}'; END $$")


async def test_mistakes_in_statements_pass_as_they_are(engine: AsyncEngine) -> None:
    with pytest.raises(ProgrammingError), translated():
        async with engine.connect() as connection:
            await connection.execute(text("SELECT nonsense"))
    with pytest.raises(IntegrityError), translated():
        async with engine.connect() as connection:
            await connection.execute(text("INSERT INTO installation VALUES (true, 1)"))


async def test_a_connection_that_was_closed_is_unavailable(database_url: str) -> None:
    connection = await connect(database_url)
    await connection.close()
    with pytest.raises(DatabaseUnavailable, match="lost"), translated():
        await connection.execute("SELECT 1")


async def test_the_clock_is_set_by_the_databases(engine: AsyncEngine) -> None:
    clock = DatabaseClock()
    clock.synchronise(clock.wall() - timedelta(days=1), clock.monotonic(), clock.monotonic())
    await synchronise(engine, clock)
    async with engine.connect() as connection:
        at = (await connection.execute(text("SELECT clock_timestamp()"))).scalar_one()
    assert abs(clock.now() - at) < timedelta(seconds=1)
