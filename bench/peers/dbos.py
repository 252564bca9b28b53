"""The peer DBOS 3.4: workflows in PostgreSQL over SQLAlchemy and psycopg, with each step's outcome recorded."""

import asyncio
import os
import sys
from pathlib import Path

sys.path.pop(0)  # this folder, where a library's name would find the file of its peer
sys.path.insert(0, str(Path(__file__).parents[2]))

import asyncpg
import sqlalchemy
from dbos import DBOS, DBOSClient, DBOSConfig, SetWorkflowID
from dbos._error import DBOSWorkflowIDInUseError

from bench.peers.shop import IN_FLIGHT, Options, Payment, Peer, main

QUEUE = "purchases"
WORKFLOW = "operation"
CONNECTIONS = IN_FLIGHT  # 20 otherwise; each webhook and each step holds one while it writes
POLLING = 0.01  # seconds; 1 otherwise, which would be most of the time that a short workflow takes


class Dbos(Peer):
    """With one process a workflow starts where the webhook comes in, which spares the queue; more share a queue."""

    unfinished = "SELECT EXISTS (SELECT FROM dbos.workflow_status WHERE status IN ('ENQUEUED', 'PENDING'))"
    finished = "SELECT count(*) FROM dbos.workflow_status WHERE status = 'SUCCESS'"

    def __init__(self, options: Options, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        super().__init__(options, pool)
        url = sqlalchemy.make_url(options.database).set(drivername="postgresql+psycopg")
        self._url = url.render_as_string(hide_password=False)
        self._queued = options.engine > 0 or options.workers != 1 or not options.port

        async def purchase(payment: Payment) -> None:
            await self.purchase(payment)

        step = DBOS.step()(purchase)

        async def operation(payment: Payment) -> None:
            await step(payment)

        self._workflow = DBOS.workflow(name=WORKFLOW)(operation)

    async def install(self) -> None:
        """Its launch makes its tables."""

    async def open(self) -> None:
        """Launches it. What this process had under way when it was ended is taken up again."""
        DBOS(
            config=DBOSConfig(
                name="bench",
                system_database_url=self._url,
                sys_db_pool_size=CONNECTIONS,
                executor_id="serving" if self.options.port else f"working-{os.getpid()}",
                application_version="1",
                log_level="WARNING",
            )
        )
        if not self.options.workers:
            DBOS.listen_queues([])
        DBOS.launch()  # in this loop, where its workflows run then
        if self.options.engine:
            await self._queue(0)

    async def receive(self, payment: Payment) -> bool:
        """The workflow's id is the payment's: it deduplicates for good."""
        try:
            with SetWorkflowID(payment["id"], workflow_id_reuse_policy="reject"):
                if self._queued:
                    await DBOS.enqueue_workflow_async(QUEUE, self._workflow, payment)
                else:
                    await DBOS.start_workflow_async(self._workflow, payment)
        except DBOSWorkflowIDInUseError:
            return False
        return True

    async def fill(self, payments: list[Payment]) -> None:
        """One transaction: it has no means for many."""
        await asyncio.to_thread(self._fill, payments)

    def _fill(self, payments: list[Payment]) -> None:
        engine, client = sqlalchemy.create_engine(self._url), DBOSClient(system_database_url=self._url)
        with engine.begin() as connection:
            for payment in payments:
                options = {"workflow_name": WORKFLOW, "queue_name": QUEUE, "workflow_id": payment["id"]}
                client.enqueue_in_transaction(connection, options, payment)
        client.destroy()
        engine.dispose()

    async def start(self) -> None:
        """The queue, where there is one."""
        if self._queued:
            await self._queue(IN_FLIGHT)

    async def stop(self) -> None:
        """Ends it; what is under way is in its tables."""
        await asyncio.to_thread(DBOS.destroy)

    async def _queue(self, concurrency: int) -> None:
        await DBOS.register_queue_async(
            QUEUE, worker_concurrency=concurrency, polling_interval_sec=POLLING, on_conflict="always_update"
        )


if __name__ == "__main__":
    main(Dbos)
