"""A connection of its own for each stream of writes, and what is done when it breaks.

A commit that failed on the wire is unknown: it may be on disk. So each write is made to be sent again: it finds what
it has already written. A deadlock's victim is sent again as well.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias, TypeVar

import asyncpg
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_delay, wait_random_exponential

from app.db.engine import connect, translated
from app.errors import DatabaseUnavailable

Result = TypeVar("Result")

Work: TypeAlias = Callable[[asyncpg.Connection, bool], Awaitable[Result]]

# Senders of webhooks give up after five to thirty seconds: past four it is better to say 503 and be sent it again.
RESEND_FOR = 4.0
SEND_AGAIN = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.InvalidCachedStatementError,  # a migration has changed a table since the statement was planned
)

AGAIN = (DatabaseUnavailable, *SEND_AGAIN)

# In one message, so that it costs no way to the server and back. The level is said, since a server may have another
# default: what is read after a lost race must be seen. The limit is for a process that stands still in the middle of its
# transaction, on a machine that is frozen or cut off: whoever writes one of its rows waits for it, and all who write
# with him. A transaction of ours takes some milliseconds; one that was ended though it lives is sent again.
# Where a server's default is not to wait for the disk, we do: what is answered must be on it.
BEGIN = """
BEGIN ISOLATION LEVEL READ COMMITTED;
SET LOCAL idle_in_transaction_session_timeout = '3s';
SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'
"""


class PoisonedBatch(Exception):
    """Something in the batch cannot be written, or cannot be read; the cause says what."""


class Writer:
    """One connection, made when it is first needed and again after it broke; one transaction at a time.

    Args:
        url: of the database.
        resend_for: seconds during which a write that broke is sent again.
    """

    def __init__(self, url: str, *, resend_for: float = RESEND_FOR) -> None:
        self._url = url
        self._resend_for = resend_for
        self._connection: asyncpg.Connection | None = None
        self._turn = asyncio.Lock()

    async def transaction(self, work: Work[Result], *, alone: bool = False) -> Result:
        """Runs `work(connection, resent)` in one transaction and commits it.

        Args:
            work: writes; `resent` tells it that an earlier try may have been committed.
            alone: it writes by one statement, which is a transaction by itself and needs no more ways to the server. That
                waits for the disk by itself (`DURABLE`).

        Raises:
            DatabaseUnavailable: the database could not be reached for `resend_for` seconds; the write may be there.
            PoisonedBatch: PostgreSQL refuses the data, or it cannot be made into a statement at all.
        """
        carried_out = work if alone else partial(self._in_transaction, work)
        async with self._turn:
            try:
                return await self._once(carried_out, resent=False)
            except AGAIN:
                # Only what broke pays for the machinery of being sent again.
                return await self._resend(carried_out)

    @staticmethod
    async def _in_transaction(work: Work[Result], connection: asyncpg.Connection, resent: bool) -> Result:
        await connection.execute(BEGIN)
        result = await work(connection, resent)
        await connection.execute("COMMIT")
        return result

    async def _resend(self, work: Work[Result]) -> Result:
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(AGAIN),
            wait=wait_random_exponential(multiplier=0.02, max=0.5),
            stop=stop_after_delay(self._resend_for),
            retry_error_callback=_unavailable,
        )

        async def attempt() -> Result:
            return await self._once(work, resent=True)

        result: Result = await retrying(attempt)
        return result

    async def close(self) -> None:
        """Closes the connection."""
        async with self._turn:
            await self._drop()

    async def _once(self, work: Work[Result], *, resent: bool) -> Result:
        try:
            with translated():
                connection = self._connection
                if connection is None or connection.is_closed():
                    connection = self._connection = await connect(self._url)
                return await work(connection, resent)
        except (DatabaseUnavailable, asyncio.CancelledError):
            await self._drop()
            raise
        except asyncpg.PostgresError as error:
            await self._roll_back()
            if isinstance(error, SEND_AGAIN):
                raise
            raise PoisonedBatch(str(error)) from error
        except Exception as error:
            await self._drop()  # nobody knows what state it is in
            raise PoisonedBatch(str(error)) from error

    async def _roll_back(self) -> None:
        try:
            with translated():
                if self._connection is not None and self._connection.is_in_transaction():
                    await self._connection.execute("ROLLBACK")
        except DatabaseUnavailable:
            await self._drop()  # which rolls it back as well

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()


def _unavailable(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    raise DatabaseUnavailable("the database does not answer") from error
