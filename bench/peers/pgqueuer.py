"""The peer PgQueuer 1.6: a queue in PostgreSQL over asyncpg, NOTIFY to wake the worker, batches to claim and to finish."""

import asyncio
import json
import sys
from pathlib import Path

sys.path.pop(0)  # this folder, where a library's name would find the file of its peer
sys.path.insert(0, str(Path(__file__).parents[2]))

import asyncpg
from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment
from pgqueuer.core.qm import QueueManager
from pgqueuer.db import AsyncpgDriver
from pgqueuer.domain.settings import DBSettings, Durability
from pgqueuer.models import Job
from pgqueuer.queries import Queries

from bench.peers.shop import RECEIVE, Payment, Peer, main

ENTRYPOINT = "purchase"
# Its guide on performance: larger batches for short jobs (10 is the default).
BATCH = 100
# The guide: 2x for `balanced`. The queue stays durable; what is unlogged is the log of finished jobs, and `done` is ours.
DURABILITY = Durability.balanced


class PgQueuer(Peer):
    """As its guide on performance has it: a connection of its own for the manager, a pool for who enqueues."""

    unfinished = "SELECT EXISTS (SELECT FROM pgqueuer)"  # a finished job is deleted
    finished = "SELECT count(*) FROM pgqueuer_log WHERE status = 'successful'"

    async def install(self) -> None:
        """Its tables, with the settings of `pgq autovac`."""
        async with self.pool.acquire() as connection:
            environment = QueryBuilderEnvironment(DBSettings(durability=DURABILITY))
            queries = Queries(AsyncpgDriver(connection), qbe=environment)
            if not await queries.has_table("pgqueuer"):
                await queries.install()
                await queries.optimize_autovacuum()

    async def open(self) -> None:
        """Connects the manager."""
        self._connection = await asyncpg.connect(self.options.database)
        self._manager = QueueManager(Queries(AsyncpgDriver(self._connection)))
        self._manager.entrypoint(ENTRYPOINT)(self._work)

    async def receive(self, payment: Payment) -> bool:
        """One transaction with a row of ours: its dedupe key holds only while the job is in the queue."""
        async with self.pool.acquire() as connection, connection.transaction():
            if await connection.execute(RECEIVE.format("$1"), payment["id"]) == "INSERT 0 0":
                return False
            await Queries(AsyncpgDriver(connection)).enqueue(ENTRYPOINT, json.dumps(payment).encode())
        return True

    async def fill(self, payments: list[Payment]) -> None:
        """One statement."""
        count = len(payments)
        jobs = [json.dumps(payment).encode() for payment in payments]
        await self._manager.queries.enqueue([ENTRYPOINT] * count, jobs, [0] * count)

    async def start(self) -> None:
        """The manager, in this loop."""
        self._running = asyncio.create_task(self._manager.run(batch_size=BATCH))

    async def stop(self) -> None:
        """Lets the manager end what is under way."""
        self._manager.shutdown.set()
        await self._running
        await self._connection.close()

    async def _work(self, job: Job) -> None:
        await self.purchase(json.loads(job.payload))


if __name__ == "__main__":
    main(PgQueuer)
