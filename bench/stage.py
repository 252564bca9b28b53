"""What a repeat stands on: databases, configuration, supplier, service and load, started for it and ended with it."""

import asyncio
import json
import os
import secrets
import socket
import sys
import urllib.request
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from app.db import schema
from bench import checks, config, machine
from bench.children import Child, Children
from bench.config import PLACES
from bench.postgres import Postgres

LOAD_LIMIT = 900.0  # seconds for one load; the slowest peer needs a minute


@dataclass(frozen=True, slots=True)
class Options:
    """How much is done.

    Args:
        webhooks: in one load.
        operations: stored for one run of the engine.
        concurrency: webhooks under way at once.
        rate: webhooks a second, and `seconds` how long, for the latency.
        history: finished operations that lie in the database.
        waiting: operations that are due later.
        warm: webhooks that go before the others and are not counted in a rate: what is prepared once is prepared then.
        calls: of the outgoing client.
    """

    repeat: int = 5
    webhooks: int = 10_000
    operations: int = 20_000
    concurrency: int = 32
    rate: float = 20.0
    seconds: float = 60.0
    history: tuple[int, ...] = (0, 1_000_000, 10_000_000)
    waiting: int = 1_000_000
    calls: int = 10_000
    warm: int = 200
    peers: bool = True

    @classmethod
    def quick(cls) -> "Options":
        """Little of everything, to try the bench itself: its figures mean nothing."""
        return cls(1, 300, 600, rate=50.0, seconds=2.0, history=(0, 2_000), waiting=3_000, calls=500)


@dataclass(frozen=True, slots=True)
class Load:
    """What a load says of itself. `began` by the machine's clock, the one of the commits too."""

    began: float
    seconds: float
    statuses: Mapping[int, int]
    cpu: float
    late: float = 0.0
    sent: Sequence[tuple[float, float]] = ()


@dataclass(slots=True)
class Running:
    """A service under test: its processes, and the ports that take webhooks."""

    children: list[Child]
    ports: list[int]


@dataclass(slots=True)
class Stage:
    """The driver's hands.

    Args:
        folder: for configurations, logs and times of requests.
        empty: a migrated database without rows, to be copied.
        warnings: what stands beside the figures.
        failures: repeats that gave no figure.
        notes: what else the figures were taken with.
        closing: what a workload has started for itself.
    """

    children: Children
    postgres: Postgres
    folder: Path
    options: Options
    empty: str = ""
    warnings: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    closing: AsyncExitStack = field(default_factory=AsyncExitStack)
    _stored: dict[tuple[int, bool], str] = field(default_factory=dict)

    async def prepare(self) -> None:
        """Makes the empty database."""
        self.empty = await self.postgres.create()
        await schema.upgrade(self.postgres.url(self.empty))

    @asynccontextmanager
    async def database(self, template: str = "template0") -> AsyncIterator[str]:
        """A database for one repeat, by its name."""
        name = await self.postgres.create(template)
        try:
            yield name
        finally:
            await self.postgres.drop(name)

    async def stored(self, count: int, *, local: bool = False) -> str:
        """A database with so many accepted operations that nobody has begun, made once by the service itself."""
        known = self._stored.get((count, local))
        if known is not None:
            return known
        name = await self.postgres.create(self.empty)
        async with self.serving(name, supplier=1, roles=["api"], local=local) as running:
            await self.load(running.ports, count, "stored")
        connection = await self.postgres.connect(name)
        await checks.accepted(connection, count, deliveries=count)
        await connection.close()
        self._stored[count, local] = name
        return name

    @asynccontextmanager
    async def program(self, name: str, *arguments: str) -> AsyncIterator[Child]:
        """A program of the bench, ready."""
        child = await self.children.start(name, [sys.executable, "-m", f"bench.programs.{name}", *arguments])
        try:
            await child.ready()
            yield child
        finally:
            await self.children.stop(child)

    @asynccontextmanager
    async def supplier(self) -> AsyncIterator[int]:
        """A supplier that has counted nothing yet; its port."""
        port = free_port()
        async with self.program("supplier", "--port", str(port)):
            yield port

    def config(
        self, database: str, supplier: int, *, local: bool = False, places: int = PLACES, further: str = ""
    ) -> Path:
        """A configuration file."""
        path, url = self.folder / f"{database}.toml", self.postgres.url(database)
        return config.write(path, url=url, supplier=supplier, local=local, places=places, further=further)

    @asynccontextmanager
    async def serving(
        self,
        database: str,
        *,
        supplier: int,
        roles: Sequence[str] = ("all",),
        local: bool = False,
        places: int = PLACES,
        further: str = "",
    ) -> AsyncIterator[Running]:
        """The service, a process for each role; all are ended before this returns, and their connections with them."""
        file = self.config(database, supplier, local=local, places=places, further=further)
        running = Running([], [])
        try:
            for number, role in enumerate(roles):
                port = free_port()
                command = [
                    sys.executable,
                    "-m",
                    "app",
                    "serve",
                    "--config",
                    str(file),
                    "--role",
                    role,
                    "--port",
                    str(port),
                ]
                running.children.append(await self.children.start(f"makegood-{role}-{number}", command))
                if role != "worker":
                    running.ports.append(port)
            for child in running.children:
                await child.ready()
            yield running
        finally:
            await self.children.stop(*running.children)

    async def load(
        self, ports: Sequence[int], count: int, tag: str, *, status: int = 202, rate: float | None = None
    ) -> Load:
        """Sends so many webhooks to the service; the same tag means the same payments.

        Raises:
            WorkNotDone: one was answered with another status.
        """
        times = self.folder / "sent.json"
        arguments = ["--ports", ",".join(map(str, ports)), "--count", str(count), "--tag", tag]
        arguments += ["--concurrency", str(self.options.concurrency)]
        if rate:
            arguments += ["--rate", str(rate), "--sent", str(times)]
        async with self.program("load", *arguments) as child:
            await self.postgres.checkpoint()
            child.tell("go")
            said = json.loads(await child.line("{", seconds=LOAD_LIMIT))
        statuses = {int(code): number for code, number in said["statuses"].items()}
        checks.equal(statuses, {status: count}, f"statuses of {tag}")
        sent = json.loads(times.read_text(encoding="ascii")) if rate else ()
        return Load(said["began"], said["seconds"], statuses, said["cpu"], said.get("late", 0.0), sent)

    async def watch_idle(self, seconds: float) -> None:
        """Looks whether something else uses the machine, before anything runs."""
        async with self.measured("before the bench"):
            await asyncio.sleep(seconds)

    async def warm(self, ports: Sequence[int]) -> None:
        """Sends a few webhooks beforehand, to every side alike."""
        await self.load(ports, self.options.warm, f"warm{tag()}")

    @asynccontextmanager
    async def measured(self, what: str) -> AsyncIterator[None]:
        """Around what is measured: warns where something else used the machine meanwhile."""
        before = machine.read(self.ours())
        yield
        used = machine.between(before, machine.read(self.ours()))
        if used.disturbed:
            self.warnings.append(
                f"{what}: {used.foreign:.0%} of the machine was used by others, {used.stolen:.0%} was stolen from it"
            )

    def warn(self, warning: str) -> None:
        """Puts a sentence beside the figures, once."""
        if warning not in self.warnings:
            self.warnings.append(warning)

    def ours(self) -> list[int]:
        """The processes that are ours, with all below them: the driver and PostgreSQL; the kernel's threads work for us too."""
        return [os.getpid(), self.postgres.postmaster(), *machine.kernel()]


def supplied(port: int, count: int) -> None:
    """The supplier was called once for each payment, and each time under another key. Raises WorkNotDone."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/stats", timeout=5) as answer:
        checks.equal(json.load(answer), {"calls": count, "keys": count}, "supplier")


def tag() -> str:
    """A name for the payments of one load that no other load has."""
    return secrets.token_hex(4)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])
