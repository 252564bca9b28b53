"""How the database is reached: one pool for reads, connections of their own for the rest, one word for "it is away".

Every connection speaks UTC, names itself `makegood` and gives each statement a time limit on this side, so that a
server that has stopped answering is noticed too. The URL is libpq's, and asyncpg reads it: socket folders, several
hosts and `sslmode` are as in psql. Of several hosts it is the writable one that is wanted.

Through PgBouncer in transaction mode: from 1.21 on, with its `max_prepared_statements` above zero, nothing is to be
done. Before that, add `?prepared_statement_cache_size=0` to the URL, and no statement is left prepared. Beyond that
nothing of ours lives longer than its transaction, but LISTEN, which is a hint that polling does without.
"""

from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg
from asyncpg.connect_utils import SessionAttribute
from sqlalchemy import event, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool
from tenacity import AsyncRetrying, retry_if_exception, stop_after_delay, wait_random_exponential

from app.clock import DatabaseClock
from app.errors import DatabaseUnavailable

__all__ = ["AsyncEngine", "connect", "create", "create_for_migrations", "reach", "synchronise", "translated"]

CONNECT_TIMEOUT = 5.0  # seconds; a server that lives answers in a hundredth of it, also across a continent
STATEMENT_TIMEOUT = 10.0  # seconds; our slowest statement takes a tenth of it at a million operations
POOL_TIMEOUT = 5.0  # seconds a request may wait for a connection; it is told 503 well before its sender gives up
PATIENCE = 30.0  # seconds that a start waits for a server that is itself starting, or failing over
CLOCK_READINGS = 3  # the quickest of them is the most exact, and one in three meets no hiccup

CACHE_OPTION = "prepared_statement_cache_size"
# SQLAlchemy's and asyncpg's own default: our statements are some dozens.
CACHE_SIZE = 100

# SQLSTATE classes and codes that mean: not now, perhaps later.
AWAY_CLASSES = ("08", "53")  # connection exceptions; out of connections, memory or disk
AWAY_CODES = {
    "25P03": "the server closed a session that stood still in a transaction",
    "25006": "the server is read-only",  # a primary that became a standby
    "57014": "the server cancelled the statement",
    "57P01": "the server is shutting down",
    "57P02": "the server has crashed",
    "57P03": "the server is starting up or shutting down",
    "57P05": "the server closed an idle connection",
    "55P03": "a lock was not to be had in time",
}
# Of these the connection is useless afterwards, though it is open still: the pool must not give it out again.
USELESS_AFTER = frozenset({"25006", "57P01", "57P02", "57P03"})


ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, DBAPIError)
# The server is there and does not let us in: a wrong password, no such database, a URL that is none. Waiting is no help.
REFUSED = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.ClientConfigurationError,
)


@dataclass(frozen=True, slots=True)
class Address:
    """A URL as asyncpg takes it, with what is ours taken out of it."""

    dsn: str
    name: str
    cache_size: int
    several_hosts: bool


def create(url: str, pool_size: int) -> AsyncEngine:
    """The engine with the pool that all reads share. It connects when it is first used.

    There is no ping before each use (`pool_pre_ping`): it would cost each read a round trip, and a broken connection
    is noticed at its first statement, which also empties the pool of its like.

    Args:
        url: `postgresql://...`; with a driver in its scheme (`postgresql+asyncpg://`) too.
        pool_size: connections at most.
    """
    engine = create_async_engine(
        "postgresql+asyncpg://",
        connect_args=_arguments(url, lambda **_: connect(url)),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT,
        pool_use_lifo=True,
    )
    event.listen(engine.sync_engine, "handle_error", _drop_what_is_useless)
    return engine


def create_for_migrations(url: str) -> AsyncEngine:
    """An engine with no pool and no time limit: an index of a large table takes its time."""
    creator = partial(connect, url, command_timeout=None)
    return create_async_engine(
        "postgresql+asyncpg://", connect_args=_arguments(url, lambda **_: creator()), poolclass=NullPool
    )


def _arguments(url: str, creator: Callable[..., Coroutine[Any, Any, "asyncpg.Connection[Any]"]]) -> dict[str, Any]:
    """How SQLAlchemy connects, and how it prepares: with a cache by names, or each time anew under no name."""
    cache_size = _address(url).cache_size
    return {
        "async_creator_fn": creator,
        "prepared_statement_cache_size": cache_size,
        "prepared_statement_name_func": None if cache_size else lambda: "",
    }


async def connect(url: str, *, command_timeout: float | None = STATEMENT_TIMEOUT) -> "asyncpg.Connection[Any]":
    """A connection of one's own: for LISTEN, the group-commit writers and the migrations. One try.

    Args:
        url: as `create` takes it.
        command_timeout: seconds for each statement; None sets no limit.

    Raises:
        DatabaseUnavailable: it cannot be reached within `CONNECT_TIMEOUT`, or does not let us in.
    """
    address = _address(url)
    with translated():
        return await asyncpg.connect(
            address.dsn,
            timeout=CONNECT_TIMEOUT,
            command_timeout=command_timeout,
            statement_cache_size=address.cache_size,
            server_settings={"application_name": address.name, "timezone": "UTC"},
            target_session_attrs=SessionAttribute.read_write if address.several_hosts else None,
        )


async def reach(url: str, *, patience: float = PATIENCE) -> None:
    """Waits until the database can be reached: at the start, where it may be starting as well.

    Args:
        patience: seconds after which it is given up.

    Raises:
        DatabaseUnavailable: it could not be reached in that time; or, at once, it does not let us in.
    """
    trying = AsyncRetrying(
        retry=retry_if_exception(_may_pass),
        stop=stop_after_delay(patience),
        wait=wait_random_exponential(multiplier=0.1, max=2.0),
        reraise=True,
    )
    connection: asyncpg.Connection[Any] = await trying(connect, url)
    await connection.close(timeout=CONNECT_TIMEOUT)


async def synchronise(engine: AsyncEngine, clock: DatabaseClock) -> None:
    """Sets the clock by the database's.

    Raises:
        DatabaseUnavailable: it cannot be asked.
    """
    readings = []
    with translated():
        async with engine.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            await connection.scalar(text("SELECT clock_timestamp()"))  # the first one prepares the statement
            for _ in range(CLOCK_READINGS):
                asked = clock.monotonic()
                at = await connection.scalar(text("SELECT clock_timestamp()"))
                readings.append((asked, clock.monotonic(), at))
    asked, answered, at = min(readings, key=lambda reading: reading[1] - reading[0])
    clock.synchronise(at, asked, answered)


@contextmanager
def translated() -> Iterator[None]:
    """Around whatever speaks to the database: what means that it is away is raised as `DatabaseUnavailable`.

    A deadlock, a failed serialisation, a broken constraint and a mistake in a statement pass as they are.
    """
    try:
        yield
    except PoolTimeoutError as error:
        raise DatabaseUnavailable("every connection to the database is in use") from error
    except (OSError, TimeoutError, *ERRORS) as error:
        detail = _away(error)
        if detail is None:
            raise
        raise DatabaseUnavailable(detail) from error


def _away(error: Exception) -> str | None:
    """Why the database is away, by an error of the socket, asyncpg or SQLAlchemy; None where it says no such thing."""
    origin: Any = error.orig if isinstance(error, DBAPIError) else error
    state = getattr(origin, "sqlstate", None) or ""
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        return "none of the database's hosts can be written to now"
    if state in AWAY_CODES:
        return f"the database cannot be used now: {AWAY_CODES[state]}"
    if state.startswith(AWAY_CLASSES):
        return f"the database cannot be used now: {origin}"
    if isinstance(error, REFUSED):
        return f"the database does not let us in: {origin}"
    if isinstance(error, OSError | TimeoutError | asyncpg.InternalClientError):
        return f"the database cannot be reached: {str(error) or 'no answer in time'}"
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    closed = not state and "closed" in str(origin)
    return "the connection to the database was lost" if lost or closed else None


def _may_pass(error: BaseException) -> bool:
    """Whether waiting may help."""
    return isinstance(error, DatabaseUnavailable) and not isinstance(error.__cause__, REFUSED)


def _drop_what_is_useless(context: ExceptionContext) -> None:
    """Tells the pool to throw a connection away, and all that are older, after an error of `USELESS_AFTER`."""
    if getattr(context.original_exception, "sqlstate", None) in USELESS_AFTER:
        context.is_disconnect = True


def _address(url: str) -> Address:
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    cache_size = int(query.pop(CACHE_OPTION, CACHE_SIZE))
    scheme = parts.scheme.partition("+")[0]
    dsn = urlunsplit((scheme, parts.netloc, parts.path, urlencode(query), parts.fragment))
    hosts = query.get("host") or parts.netloc.rpartition("@")[2]
    name = query.get("application_name", "makegood")
    return Address(dsn, name, cache_size, "," in hosts and "target_session_attrs" not in query)
