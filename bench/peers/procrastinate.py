"""The peer Procrastinate 3.10: jobs in PostgreSQL over psycopg, taken one by one by a worker that NOTIFY wakes."""

import asyncio
import sys
from pathlib import Path

sys.path.pop(0)  # this folder, where a library's name would find the file of its peer
sys.path.insert(0, str(Path(__file__).parents[2]))

from procrastinate import App, PsycopgConnector
from procrastinate.schema import SchemaManager
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from bench.peers.shop import IN_FLIGHT, RECEIVE, Payment, Peer, main

# Its guide: more workers for more throughput, each with sub-workers. A worker takes jobs one by one, and four in one
# process end a backlog in about half the time of one with as many sub-workers.
WORKERS = 4
# Its discussion of pool sizes: for short jobs as many connections as sub-workers, and one.
CONNECTIONS = IN_FLIGHT + 1


class Procrastinate(Peer):
    """The worker runs in the serving process, as its guide has it for asynchronous applications."""

    unfinished = "SELECT EXISTS (SELECT FROM procrastinate_jobs WHERE status IN ('todo', 'doing'))"
    finished = "SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'"

    async def install(self) -> None:
        """Its tables."""
        async with self.pool.acquire() as connection, connection.transaction():
            if not await connection.fetchval("SELECT to_regclass('procrastinate_jobs')"):
                await connection.execute(SchemaManager.get_schema())

    async def open(self) -> None:
        """Connects, by a pool of ours: without the check of each connection and with autocommit, 3 round trips fewer."""
        self._connections = AsyncConnectionPool(
            self.options.database,
            configure=_autocommit,
            min_size=CONNECTIONS,
            max_size=CONNECTIONS,
            open=False,
        )
        await self._connections.open(wait=True)
        self._app = App(connector=PsycopgConnector(conninfo=self.options.database))
        await self._app.open_async(self._connections)
        self._task = self._app.task(name="purchase")(self._work)

    async def receive(self, payment: Payment) -> bool:
        """One transaction with a row of ours: its queueing lock holds only until the job begins."""
        async with self._connections.connection() as connection, connection.transaction():
            stored = await connection.execute(RECEIVE.format("%s"), (payment["id"],))
            if not stored.rowcount:
                return False
            await self._task.configure(connection=connection).defer_async(payment=payment)
        return True

    async def fill(self, payments: list[Payment]) -> None:
        """One statement."""
        await self._task.batch_defer_async(*({"payment": payment} for payment in payments))

    async def start(self) -> None:
        """The workers, in this loop. Finished jobs stay, as they do unless one asks for less."""
        run, each = self._app.run_worker_async, IN_FLIGHT // WORKERS
        self._running = [
            asyncio.create_task(run(concurrency=each, install_signal_handlers=False)) for _ in range(WORKERS)
        ]

    async def stop(self) -> None:
        """Lets the workers end what is under way."""
        for task in self._running:
            task.cancel()
        await asyncio.wait(self._running)
        await self._connections.close()

    async def _work(self, *, payment: Payment) -> None:
        await self.purchase(payment)


async def _autocommit(connection: AsyncConnection) -> None:
    await connection.set_autocommit(True)


if __name__ == "__main__":
    main(Procrastinate)
