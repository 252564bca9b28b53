"""The load: signed webhooks, made beforehand, over connections that stay open. It takes as little of the machine as it can.

    python -m bench.programs.load --ports 8080 --count 10000 --tag a           32 at a time, as fast as they are answered
    python -m bench.programs.load --ports 8080 --count 1200 --tag a --rate 20  20 a second, whether answered or not

It says `ready`, waits for a line, and answers with one of JSON. Called again with the same tag it sends the same payments.
"""

import argparse
import asyncio
import json
import resource
import sys
import time
from collections import Counter, deque
from pathlib import Path
from typing import cast

import uvloop

from bench.webhooks import requests

SEPARATOR = b"\r\n\r\n"
LENGTH = b"content-length:"


class Connection(asyncio.Protocol):
    """One connection, with one request under way."""

    def __init__(self) -> None:
        self._buffer = b""
        self._answered: asyncio.Future[int] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed, perhaps by the other side."""
        self._transport = None
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(exc or ConnectionError("closed before the answer"))

    def ask(self, request: bytes) -> "asyncio.Future[int]":
        """Sends a request; the future has the status once the answer is whole."""
        if self._transport is None:
            raise ConnectionError("the service has closed the connection")
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answered

    def data_received(self, data: bytes) -> None:
        """Some of an answer has come."""
        buffer = self._buffer = self._buffer + data
        end = buffer.find(SEPARATOR)
        if end < 0:
            return
        at = buffer[:end].lower().find(LENGTH)
        if at < 0:
            raise ValueError("an answer without Content-Length")
        length = int(buffer[at + len(LENGTH) : end].split(b"\r\n", 1)[0])
        if len(buffer) < end + len(SEPARATOR) + length:
            return
        self._buffer = b""
        if self._answered is not None:
            self._answered.set_result(int(buffer[9:12]))

    @property
    def alive(self) -> bool:
        """Whether it can be asked; the service closes what was idle."""
        return self._transport is not None

    def close(self) -> None:
        """Ends it."""
        if self._transport is not None:
            self._transport.close()


async def connect(port: int) -> Connection:
    """A new connection."""
    _, connection = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", port)
    return connection


async def closed_loop(waiting: list[bytes], ports: list[int], concurrency: int) -> dict[str, object]:
    """Sends all, so many at a time."""
    connections = [await connect(ports[number % len(ports)]) for number in range(concurrency)]
    left = iter(waiting)
    statuses: Counter[int] = Counter()

    async def send(connection: Connection) -> None:
        for request in left:
            statuses[await connection.ask(request)] += 1
        connection.close()

    began, clock = time.time(), time.perf_counter()
    await asyncio.gather(*(send(connection) for connection in connections))
    return {"began": began, "seconds": time.perf_counter() - clock, "statuses": statuses}


async def open_loop(waiting: list[bytes], ports: list[int], rate: float) -> dict[str, object]:
    """Sends one each 1/rate s, on a connection that is free or on a new one; whoever is slow makes nobody wait."""
    loop = asyncio.get_running_loop()
    free: deque[Connection] = deque()
    sent: list[tuple[float, float]] = []  # for each: when it went out, and seconds until it was answered
    statuses: Counter[int] = Counter()
    late = 0.0

    async def send(number: int, request: bytes) -> None:
        connection = free.pop() if free else await connect(ports[number % len(ports)])
        at, clock = time.time(), time.perf_counter()
        status = await connection.ask(request)
        sent[number] = (at, time.perf_counter() - clock)
        statuses[status] += 1
        free.append(connection)

    free.extend([await connect(port) for port in ports])
    began, first, tasks = time.time(), loop.time(), []
    for number, request in enumerate(waiting):
        await asyncio.sleep(max(0.0, first + number / rate - loop.time()))
        late = max(late, loop.time() - first - number / rate)
        sent.append((0.0, 0.0))
        tasks.append(loop.create_task(send(number, request)))
    await asyncio.gather(*tasks)
    for connection in free:
        connection.close()
    return {"began": began, "seconds": loop.time() - first, "statuses": statuses, "late": late, "sent": sent}


async def main() -> None:
    """Reads the arguments and carries them out."""
    parser = argparse.ArgumentParser(prog="bench.programs.load")
    parser.add_argument("--ports", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--tag", required=True)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--sent", type=Path, help="where the times of each request are written")
    wanted = parser.parse_args()
    ports = [int(port) for port in wanted.ports.split(",")]
    waiting = list(requests(wanted.tag, wanted.count))
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    used = time.process_time()
    if wanted.rate:
        said = await open_loop(waiting, ports, wanted.rate)
    else:
        said = await closed_loop(waiting, ports, wanted.concurrency)
    said["cpu"] = time.process_time() - used
    said["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if wanted.sent is not None:
        wanted.sent.write_text(json.dumps(said.pop("sent")), encoding="ascii")
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
