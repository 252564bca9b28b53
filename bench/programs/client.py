"""The outgoing client: so many calls to the supplier, 32 in flight, by one of several clients.

    python -m bench.programs.client --kind makegood --port 9000 --count 10000

It says `ready`, waits for a line, and answers with one of JSON. All send the same head and body, and read status and body.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import httpx
import uvloop

from app.agents.answer import Reply
from app.agents.http import Borrowed, Transport, attempt
from app.agents.request import Origin, Request
from app.agents.transport import Connections, write
from bench.programs.load import connect

BODY = b'{"id":"00000000-0000-5000-8000-000000000000","order":"order-1","amount":1999}'
PATH = "/purchases"
TIMEOUT = 10.0  # seconds, an agent's default

Call = Callable[[str], Awaitable[int]]  # an idempotency key goes in, the answer's status comes out
Kind = Callable[[int, int], AbstractAsyncContextManager[Call]]  # of the supplier's port, and how many are in flight


def headers(key: str) -> dict[str, str]:
    """What a call carries, apart from Host and Content-Length."""
    return {
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": "bench",
        "Content-Type": "application/json",
        "Idempotency-Key": key,
        "Makegood-Attempt": "1",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }


def request(port: int, key: str) -> Request:
    """The service's own request."""
    url = f"http://127.0.0.1:{port}{PATH}"
    return Request("supplier", "POST", url, None, url, PATH, {"Host": f"127.0.0.1:{port}", **headers(key)}, BODY)


def ours(transport: Transport, port: int) -> Call:
    """A call as the service makes it, over one of its transports."""

    async def call(key: str) -> int:
        came = await attempt(transport, request(port, key), TIMEOUT)
        return came.status if isinstance(came, Reply) else 0

    return call


@asynccontextmanager
async def makegood(port: int, concurrency: int) -> AsyncIterator[Call]:
    """Our own connections."""
    connections = Connections(Origin("http", "127.0.0.1", port), concurrency)
    yield ours(connections, port)
    await connections.aclose()


@asynccontextmanager
async def borrowed(port: int, concurrency: int) -> AsyncIterator[Call]:
    """The transport of httpx behind our interface, without its client."""
    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    transport = Borrowed(httpx.AsyncHTTPTransport(limits=limits))
    yield ours(transport, port)
    await transport.aclose()


@asynccontextmanager
async def with_httpx(port: int, concurrency: int) -> AsyncIterator[Call]:
    """The client httpx, as one uses it."""
    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", limits=limits, timeout=TIMEOUT) as client:

        async def call(key: str) -> int:
            answer = await client.post(PATH, content=BODY, headers=headers(key))
            return answer.status_code if answer.content else 0

        yield call


@asynccontextmanager
async def bare(port: int, concurrency: int) -> AsyncIterator[Call]:
    """The least that asyncio can do it with: no limit of time, no parser, no pool that forgets."""
    free = [await connect(port) for _ in range(concurrency)]

    async def call(key: str) -> int:
        connection = free.pop()
        status = await connection.ask(write(request(port, key)))
        free.append(connection)
        return status

    yield call
    for connection in free:
        connection.close()


KINDS: dict[str, Kind] = {"makegood": makegood, "borrowed": borrowed, "httpx": with_httpx, "bare": bare}


async def main(kinds: Mapping[str, Kind]) -> None:
    """Reads the arguments and carries them out."""
    parser = argparse.ArgumentParser(prog="bench.programs.client")
    parser.add_argument("--kind", choices=kinds, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--concurrency", type=int, default=32)
    wanted = parser.parse_args()
    async with kinds[wanted.kind](wanted.port, wanted.concurrency) as call:
        print("ready", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        left = iter(range(wanted.count))

        async def work() -> None:
            for number in left:
                status = await call(f"{wanted.kind}-{number}")
                if status != 200:
                    sys.exit(f"answered {status}")

        used, began = time.process_time(), time.perf_counter()
        await asyncio.gather(*(work() for _ in range(wanted.concurrency)))
        seconds = time.perf_counter() - began
        print(json.dumps({"seconds": seconds, "cpu": time.process_time() - used}), flush=True)


if __name__ == "__main__":
    uvloop.run(main(KINDS))
