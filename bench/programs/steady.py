"""The load of a long run: so many webhooks a second, whether answered or not; each is signed when it goes out.

    python -m bench.programs.steady --port 8080 --tag a --rate 100 --seconds 3600 --every 30

It says `ready`, waits for a line, and answers with lines of JSON: when it began, one for every window of time, and
a last one with `ended`.
Like a provider it sends again what was not answered with 2xx. Times count from when a webhook first wanted to go out, so what
had to wait for a connection shows in them; that this process itself came late is said apart.
"""

import argparse
import asyncio
import json
import sys
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from bench.mix import Kind, kind, told
from bench.programs.load import Connection, connect
from bench.results import percentile
from bench.webhooks import body, request

CONNECTIONS = 256  # at once; with so many under way the others wait here, and the service is far behind
ANSWER_LIMIT = 30.0  # seconds for one answer
SENDINGS = 8  # of one webhook
PAUSE = 1.0  # seconds before the second sending, then twice as long each time: for two minutes
GRACE = 150.0  # seconds after the last webhook was due; who is not answered then is given up


@dataclass(slots=True)
class Window:
    """What happened since the last line."""

    seconds: list[float] = field(default_factory=list)  # from first wanting to go out to answered
    sent: int = 0
    again: int = 0  # sendings after a webhook's first
    late: float = 0.0  # the most that this process itself was behind

    def line(self, under_way: int) -> str:
        """It as JSON. `p50` and `p99` in seconds, missing where nothing was answered."""
        ordered = sorted(self.seconds)
        said: dict[str, float] = {"at": time.time(), "sent": self.sent, "answered": len(ordered), "again": self.again}
        said |= {"late": self.late, "under_way": under_way}
        if ordered:
            said |= {"p50": percentile(ordered, 0.5), "p99": percentile(ordered, 0.99)}
        return json.dumps(said)


class Steady:
    """The webhooks of one run.

    Args:
        rate: webhooks a second.
    """

    def __init__(self, port: int, tag: str, rate: float) -> None:
        self._port, self._tag, self._rate = port, tag, rate
        self.began, self._first = time.time(), asyncio.get_running_loop().time()
        self._times: list[float] = []  # when each payment was first told, by the machine's clock
        self._free: deque[Connection] = deque()
        self._slots = asyncio.Semaphore(CONNECTIONS)
        self._sending: set[asyncio.Task[None]] = set()
        self._window = Window()
        self.statuses: Counter[int] = Counter()
        self.unsettled: set[int] = set()  # sent perhaps, and never answered with 2xx

    async def run(self, count: int, every: float) -> None:
        """Sends so many, and says each `every` seconds how it goes."""
        saying = asyncio.create_task(self._say(every, int(count / self._rate / every)))
        loop = asyncio.get_running_loop()
        for number in range(count):
            due = self._first + number / self._rate
            await asyncio.sleep(max(0.0, due - loop.time()))
            self._window.late = max(self._window.late, loop.time() - due)
            self._window.sent += 1
            self.unsettled.add(number)
            self._times.append(time.time())
            task = loop.create_task(self._send(number, time.perf_counter()))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)
        if self._sending:
            await asyncio.wait(self._sending, timeout=GRACE)
        await saying
        for task in self._sending:
            task.cancel()
        for connection in self._free:
            connection.close()

    def request(self, number: int) -> bytes:
        """A webhook, signed now. A second event of a payment has an id of its own."""
        payment = told(number)
        delivery = number if kind(number) is Kind.SECOND else payment
        said = body(self._tag, payment, round(self._times[payment], 6))
        return request(f"msg_{self._tag}_{delivery}", said, str(int(time.time())))

    async def _send(self, number: int, began: float) -> None:
        for sending in range(SENDINGS):
            if sending:
                await asyncio.sleep(PAUSE * 2 ** (sending - 1))
                self._window.again += 1
            async with self._slots:
                status = await self._ask(number)
            self.statuses[status] += 1
            if 200 <= status < 300:
                self._window.seconds.append(time.perf_counter() - began)
                self.unsettled.discard(number)
                return

    async def _ask(self, number: int) -> int:
        """One sending: its status, or 0 where none came."""
        connection = None
        try:
            async with asyncio.timeout(ANSWER_LIMIT):
                while self._free and connection is None:
                    last = self._free.pop()
                    connection = last if last.alive else None
                connection = connection or await connect(self._port)
                status = await connection.ask(self.request(number))
        except (OSError, TimeoutError):
            if connection is not None:
                connection.close()
            return 0
        self._free.append(connection)
        return status

    async def _say(self, every: float, windows: int) -> None:
        loop = asyncio.get_running_loop()
        for number in range(1, windows + 1):
            await asyncio.sleep(max(0.0, self._first + number * every - loop.time()))
            window, self._window = self._window, Window()
            print(window.line(len(self._sending)), flush=True)


async def main() -> None:
    """Reads the arguments and carries them out."""
    parser = argparse.ArgumentParser(prog="bench.programs.steady")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--tag", required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--every", type=float, required=True)
    parser.add_argument("--unsettled", type=Path, required=True, help="where the numbers are written that had no 2xx")
    wanted = parser.parse_args()
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    steady, count = Steady(wanted.port, wanted.tag, wanted.rate), int(wanted.rate * wanted.seconds)
    print(json.dumps({"began": steady.began}), flush=True)
    await steady.run(count, wanted.every)
    wanted.unsettled.write_text(json.dumps(sorted(steady.unsettled)), encoding="ascii")
    said = {"ended": True, "sent": count, "statuses": steady.statuses}
    print(json.dumps({**said, "cpu": time.process_time()}), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
