"""The peer Oban 0.7 for Python: jobs in PostgreSQL over psycopg, NOTIFY to wake the producer, acknowledgements in batches."""

import sys
from pathlib import Path
from typing import ClassVar

sys.path.pop(0)  # this folder, where a library's name would find the file of its peer
sys.path.insert(0, str(Path(__file__).parents[2]))

import orjson
from oban import Oban, worker
from oban.job import Job
from oban.schema import install
from psycopg.types.json import set_json_dumps, set_json_loads

from bench.peers.shop import RECEIVE, Payment, Peer, main

QUEUE = "purchases"
# Its guide for production: more than the default of 10 for who enqueues much from many requests; a job holds none.
CONNECTIONS = 20
LIMIT = 100  # jobs at a time; the default for how often it fetches, after 5 ms, is kept


class ObanPeer(Peer):
    """Embedded in the serving process, as its guide has it for FastAPI."""

    unfinished = "SELECT EXISTS (SELECT FROM oban_jobs WHERE state IN ('available', 'executing'))"
    finished = "SELECT count(*) FROM oban_jobs WHERE state = 'completed'"

    async def install(self) -> None:
        """Its tables."""
        pool = await Oban.create_pool(self.options.database, min_size=1, max_size=1)
        await install(pool)
        await pool.close()

    async def open(self) -> None:
        """Connects; without queues it only stores jobs."""
        set_json_dumps(orjson.dumps)  # as its own command line does
        set_json_loads(orjson.loads)
        self._pool = await Oban.create_pool(self.options.database, min_size=CONNECTIONS, max_size=CONNECTIONS)
        self._oban = Oban(pool=self._pool)
        Purchase.peer = self

    async def receive(self, payment: Payment) -> bool:
        """One transaction with a row of ours: Oban for Python has no unique jobs, and prunes finished ones."""
        async with self._pool.connection() as connection:
            stored = await connection.execute(RECEIVE.format("%s"), (payment["id"],))
            if not stored.rowcount:
                return False
            await self._oban.enqueue(Purchase.new(payment), conn=connection)
        return True

    async def fill(self, payments: list[Payment]) -> None:
        """One transaction."""
        await self._oban.enqueue_many(Purchase.new(payment) for payment in payments)

    async def start(self) -> None:
        """The queue's producer, in this loop."""
        self._oban = Oban(pool=self._pool, queues={QUEUE: {"limit": LIMIT}})
        await self._oban.start()

    async def stop(self) -> None:
        """Lets the producer end what is under way."""
        await self._oban.stop()
        await self._pool.close()


class _Purchase:
    """A job: Oban makes the object, so the peer is found at the class."""

    peer: ClassVar[ObanPeer]

    async def process(self, job: Job) -> None:
        """Does it."""
        await self.peer.purchase(job.args)


Purchase = worker(queue=QUEUE)(_Purchase)


if __name__ == "__main__":
    main(ObanPeer)
