"""Transactions in which a Python step runs together with the record of it.

The order is locked for as long as the step runs, by an advisory lock, so that the local steps of one order never
interleave. No row is locked meanwhile: a heartbeat of many rows would wait behind it. The fenced write comes last, and
where it lands on no row all that the step has written is rolled back.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar
from uuid import UUID

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.db import journal
from app.db.decisions import Decision, record_decisions
from app.db.engine import translated
from app.db.rows import bucket_of
from app.errors import MakegoodError
from app.saga.model import Operation

Result = TypeVar("Result")

# The key is a hash of a text that names us, so that another program's advisory locks do not meet ours.
# The limit, in milliseconds, is for a process that stands still in the middle of a step: its session would keep the lock.
LOCK_ORDER = text("""
SELECT pg_try_advisory_xact_lock(hashtextextended('makegood:order:' || :order_id, 0)),
       set_config('idle_in_transaction_session_timeout', :idle, true)
""")
# Beyond the step's own time: for putting the attempt on record, and for a machine that is busy.
IDLE_MARGIN = timedelta(seconds=3)
LONGEST_IDLE = timedelta(days=24)  # PostgreSQL counts the milliseconds in 31 bits


class OrderBusy(MakegoodError):
    """Another local step of the same order runs at this moment."""

    code = "order-busy"


class RolledBack(MakegoodError):
    """The step's transaction was given up; nothing of it is left."""

    code = "rolled-back"


@dataclass(slots=True)
class LocalTransaction:
    """The transaction of one local step. `connection` is what the step's function gets."""

    connection: asyncpg.Connection
    buckets: int

    async def record(self, decision: Decision) -> None:
        """Writes the decision in the same transaction.

        Raises:
            RolledBack: the operation is no longer the one it was made on.
        """
        bucket = bucket_of(decision.operation_id, self.buckets)
        if not await record_decisions(self.connection, bucket, [decision]):
            raise RolledBack("the operation has changed while the step ran")


class LocalTransactions:
    """Where local steps get their transactions; never more than half the pool at once, the rest is for the API.

    Args:
        pool_size: connections in the engine's pool.
    """

    def __init__(self, engine: AsyncEngine, buckets: int, pool_size: int) -> None:
        self._engine = engine
        self._buckets = buckets
        self._slots = asyncio.Semaphore(max(1, pool_size // 2))

    async def run(
        self, order_id: str, work: Callable[[LocalTransaction], Awaitable[Result]], timeout: timedelta
    ) -> Result:
        """Runs `work` in a transaction that holds the order's lock, and commits it.

        Args:
            timeout: how long `work` may leave the transaction alone; the server then gives it up.

        Raises:
            OrderBusy: another local step of the order runs.
            RolledBack: raised by `work`, or the commit broke on the wire and had not landed.
            DatabaseUnavailable: the database is away; nothing is left of it, or `landed` says otherwise.
        """
        async with self._slots:
            with translated():
                async with self._engine.connect() as connection, connection.begin():
                    idle = min(timeout + IDLE_MARGIN, LONGEST_IDLE) // timedelta(milliseconds=1)
                    if not await connection.scalar(LOCK_ORDER, {"order_id": order_id, "idle": str(idle)}):
                        raise OrderBusy(f"another local step of order {order_id} runs")
                    raw = (await connection.get_raw_connection()).driver_connection
                    if raw is None:
                        raise RolledBack("the connection was lost")
                    return await work(LocalTransaction(raw, self._buckets))

    async def landed(self, after: Operation, decision: UUID) -> bool:
        """Whether a decision that leads to this is committed: asked where the answer to its commit was lost.

        Raises:
            DatabaseUnavailable: the database cannot be asked.
        """
        with translated():
            async with self._engine.connect() as connection:
                raw = (await connection.get_raw_connection()).driver_connection
                bucket, asked = bucket_of(after.id, self._buckets), [(after.serial, after.revision, decision)]
                return bool(await journal.written(raw, bucket, asked)) if raw else False
