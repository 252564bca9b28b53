"""What all peers share, so that only the library differs: the webhook's route, the supplier's client, the table `done`.

    <venv>/bin/python bench/peers/NAME.py --port P --database URL --supplier URL [--workers N]
    <venv>/bin/python bench/peers/NAME.py --port P --database URL --supplier URL --engine N

`--workers` is the number of processes that work: 1 (the default) is the serving process itself, 0 none (it only
receives), more are further processes beside it. With `--engine` nothing is served and nothing is sent: N jobs are
stored, then done with a supplier that answers in process, and one line of JSON says how long that took.
"""

import argparse
import asyncio
import base64
import hashlib
import hmac
import json
import signal
import socket
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import asyncpg
import uvicorn
import uvloop
from fastapi import FastAPI, Request, Response

from bench.webhooks import KEY, PATH

Payment = dict[str, Any]  # id, order, amount: what a job carries and the supplier is sent
Call = Callable[[Payment], Awaitable[None]]  # asks the supplier; raises where it does not answer with a success

TOLERANCE = 300  # seconds; a signature's age, as the service's default
IN_FLIGHT = 32  # jobs at a time, as the service's default
POOL = 16  # connections for what is written beside the library's own; more than that only wait for each other's sync
GRACE = 5.0  # seconds for the work under way when it is told to end

TABLES = """
CREATE TABLE IF NOT EXISTS done (external_id text PRIMARY KEY, finished_at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE TABLE IF NOT EXISTS received (external_id text PRIMARY KEY);
"""
RECEIVE = "INSERT INTO received (external_id) VALUES ({}) ON CONFLICT DO NOTHING"  # the driver's placeholder goes in
FINISH = "INSERT INTO done (external_id) VALUES ($1) ON CONFLICT DO NOTHING"  # a job that runs twice is done once


@dataclass(frozen=True, slots=True)
class Options:
    """The command line."""

    port: int
    database: str
    supplier: str
    workers: int
    engine: int


class Peer(ABC):
    """One library, told to do the job."""

    unfinished: str  # SQL: whether one of its jobs is not finished, by its own tables
    finished: str  # SQL: how many it has finished, by its own tables

    def __init__(self, options: Options, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self.options = options
        self.pool = pool
        self.call: Call  # set before `start`

    async def purchase(self, payment: Payment) -> None:
        """What a job does. In the engine's workload what is finished its own tables say, and nothing is written beside."""
        await self.call(payment)
        if not self.options.engine:
            await self.pool.execute(FINISH, payment["id"])

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Call]:
        """The supplier's client: aiohttp with no limit of its own, the same for all who have a library."""
        url = f"{self.options.supplier}/purchases"
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def call(payment: Payment) -> None:
                async with session.post(url, json=payment, headers={"Idempotency-Key": payment["id"]}) as answer:
                    answer.raise_for_status()
                    await answer.json()

            yield call

    @abstractmethod
    async def install(self) -> None:
        """Makes its tables; idempotent."""

    @abstractmethod
    async def open(self) -> None:
        """Makes it ready to receive; called once in each process, after `install`."""

    @abstractmethod
    async def receive(self, payment: Payment) -> bool:
        """Stores a job durably; False for a payment that it has had."""

    @abstractmethod
    async def fill(self, payments: list[Payment]) -> None:
        """Stores many jobs, by its own means for many."""

    @abstractmethod
    async def start(self) -> None:
        """Begins to work, in this process."""

    @abstractmethod
    async def stop(self) -> None:
        """Ends the work and closes what is open."""


def main(peer_type: type[Peer]) -> None:
    """Runs a peer as its command line says, until it is told to end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True, help="0: serve nothing, work alone")
    parser.add_argument("--database", required=True)
    parser.add_argument("--supplier", required=True)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--engine", type=int, default=0)
    uvloop.run(_run(peer_type, Options(**vars(parser.parse_args()))))


async def _run(peer_type: type[Peer], options: Options) -> None:
    # Without a reset, which would be a round trip for each statement; the connections hold nothing that needs one.
    async with asyncpg.create_pool(options.database, min_size=POOL, max_size=POOL, reset=_nothing) as pool:
        peer = peer_type(options, pool)
        if options.port:
            await pool.execute(TABLES)
            await peer.install()
        await peer.open()
        if options.engine:
            await _engine(peer, options.engine)
        else:
            await _live(peer)


async def _nothing(connection: object) -> None:
    del connection


async def _live(peer: Peer) -> None:
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, told.set)
    async with peer.client() as peer.call:
        working = peer.options.workers > 0
        if working:
            await peer.start()
        if peer.options.port:
            further = [await _further() for _ in range(1, peer.options.workers)]
            await _serve(peer)
            for process in further:
                process.terminate()
        else:
            loop.add_reader(sys.stdin, told.set)  # closed by the end of the process that started us
            print("ready", flush=True)
            await told.wait()
        if working:
            await asyncio.wait_for(peer.stop(), GRACE)


async def _further() -> asyncio.subprocess.Process:
    """One more process, which only works."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, *sys.argv, "--port", "0", "--workers", "1", stdin=pipe, stdout=pipe
    )
    if process.stdout is None or await process.stdout.readline() != b"ready\n":
        raise RuntimeError("a further process has not started")
    return process


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print("ready", flush=True)


async def _serve(peer: Peer) -> None:
    application = FastAPI()

    @application.post(PATH)
    async def webhook(request: Request) -> Response:
        body = await request.body()
        if not verified(request, body):
            return Response(status_code=401)
        data = json.loads(body)["data"]
        new = await peer.receive({"id": data["payment_id"], "order": data["order_id"], "amount": data["amount"]})
        return Response(status_code=202 if new else 200)

    config = uvicorn.Config(
        application, port=peer.options.port, http="httptools", log_level="warning", access_log=False, lifespan="off"
    )
    await _Server(config).serve()


def verified(request: Request, body: bytes) -> bool:
    """Whether the signature is good and of now (Standard Webhooks)."""
    try:
        delivery, sent, signature = (request.headers[f"webhook-{part}"] for part in ("id", "timestamp", "signature"))
        fresh = abs(time.time() - int(sent)) <= TOLERANCE
    except (KeyError, ValueError):
        return False
    digest = base64.b64encode(hmac.digest(KEY, f"{delivery}.{sent}.".encode() + body, hashlib.sha256)).decode()
    return fresh and hmac.compare_digest(signature, f"v1,{digest}")


async def _engine(peer: Peer, count: int) -> None:
    called, all_called = 0, asyncio.Event()

    async def call(payment: Payment) -> None:
        """The supplier's answer, at once."""
        nonlocal called
        del payment
        called += 1
        if called == count:
            all_called.set()

    peer.call = call
    await peer.fill([{"id": f"engine_{number}", "order": f"order-{number}", "amount": 1999} for number in range(count)])
    print("ready", flush=True)
    began = time.perf_counter()
    await peer.start()
    await all_called.wait()
    while await peer.pool.fetchval(peer.unfinished):
        await asyncio.sleep(0.002)
    seconds = time.perf_counter() - began
    operations = await peer.pool.fetchval(peer.finished)
    print(json.dumps({"operations": operations, "seconds": seconds}), flush=True)
    await asyncio.wait_for(peer.stop(), GRACE)
