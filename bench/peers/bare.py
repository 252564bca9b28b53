"""The peer without a library: one bare loop that receives, calls with httpx and makes three transactions of one row.

It is what one would write first: a queue in memory, filled again from the table at the start; no lease, no attempts,
no retries.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

sys.path.pop(0)  # this folder, where a library's name would find the file of its peer
sys.path.insert(0, str(Path(__file__).parents[2]))

import asyncpg
import httpx

from bench.peers.shop import FINISH, IN_FLIGHT, Call, Options, Payment, Peer, main

TABLE = (
    "CREATE TABLE IF NOT EXISTS operations (external_id text PRIMARY KEY, payment json NOT NULL, called_at timestamptz)"
)
INSERT = "INSERT INTO operations (external_id, payment) VALUES ($1, $2) ON CONFLICT DO NOTHING"
CALLED = "UPDATE operations SET called_at = clock_timestamp() WHERE external_id = $1"
LEFT = "SELECT payment FROM operations WHERE external_id NOT IN (SELECT external_id FROM done)"


class Bare(Peer):
    """Each statement is a transaction of its own."""

    unfinished = "SELECT (SELECT count(*) FROM operations) > (SELECT count(*) FROM done)"
    finished = "SELECT count(*) FROM done"

    def __init__(self, options: Options, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        super().__init__(options, pool)
        self._waiting: asyncio.Queue[Payment] = asyncio.Queue()
        self._running: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Call]:
        """The default transport of httpx; as many connections stay open as there are calls in flight (20 otherwise)."""
        url, limits = f"{self.options.supplier}/purchases", httpx.Limits(max_keepalive_connections=IN_FLIGHT)
        async with httpx.AsyncClient(limits=limits) as client:

            async def call(payment: Payment) -> None:
                answer = await client.post(url, json=payment, headers={"Idempotency-Key": payment["id"]})
                answer.raise_for_status().json()

            yield call

    async def install(self) -> None:
        """Its table."""
        await self.pool.execute(TABLE)

    async def open(self) -> None:
        """Nothing is needed; what waits is in this process's memory, so there can be no other."""
        if self.options.workers > 1:
            sys.exit("The bare loop is one process.")

    async def receive(self, payment: Payment) -> bool:
        """The first transaction."""
        if await self.pool.execute(INSERT, payment["id"], json.dumps(payment)) == "INSERT 0 0":
            return False
        self._waiting.put_nowait(payment)
        return True

    async def fill(self, payments: list[Payment]) -> None:
        """One statement for all; `start` reads them."""
        await self.pool.executemany(INSERT, [(payment["id"], json.dumps(payment)) for payment in payments])

    async def start(self) -> None:
        """So many loops as there may be calls in flight."""
        for row in await self.pool.fetch(LEFT):
            self._waiting.put_nowait(json.loads(row["payment"]))
        self._running = [asyncio.create_task(self._work()) for _ in range(IN_FLIGHT)]

    async def stop(self) -> None:
        """Drops what is under way: the table has it."""
        for task in self._running:
            task.cancel()

    async def _work(self) -> None:
        while True:
            payment = await self._waiting.get()
            await self.call(payment)
            await self.pool.execute(CALLED, payment["id"])
            await self.pool.execute(FINISH, payment["id"])


if __name__ == "__main__":
    main(Bare)
