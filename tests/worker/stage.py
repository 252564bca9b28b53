"""A worker's surroundings for its tests: a store that says what it is told, agents that answer as they are told."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar, cast

from app.agents import Agents, Exchange
from app.db.claim import BeginWith, Claim, Claimed
from app.db.journal import AttemptEnd, AttemptStart
from app.db.operations import HeldLease
from app.db.sagas import Sagas
from app.db.store import Store
from app.db.wakeup import Wakeup
from app.saga.model import Operation, Outcome, Status, Transition
from app.saga.signals import StepDone
from app.worker.execution import Execution, Parts
from app.worker.lease import Lease, Leases
from tests.builders import NOW, FixedClock, operation_for, purchase_saga

LEASE = timedelta(seconds=30)


async def nothing() -> None:
    """What happens while something is on its way, unless a test says otherwise."""


def claimed(external_id: str = "pay_1", lease: int = 1) -> Claimed:
    """An operation under a claim."""
    operation = replace(
        operation_for(external_id),
        status=Status.PROCESSING,
        attempt=1,
        lease=lease,
        revision=2,
        next_run_at=None,
        complete_by=NOW + LEASE,
        locked_by="worker-1",
    )
    return Claimed(operation, Status.PENDING, b"{}")


@dataclass
class SaidStore:
    """A store whose claims and heartbeats a test has written down.

    Args:
        due: what each claim finds, one after the other; then nothing.
        written: whose operations are being written when a heartbeat comes.
        kept: which leases a heartbeat finds to hold; None: all.
        meanwhile: what happens while a statement is on its way.
    """

    due: list[list[Claimed] | Exception] = field(default_factory=list)
    kept: set[HeldLease] | None = None
    written: set[HeldLease] = field(default_factory=set)
    meanwhile: Callable[[], Awaitable[None]] = nothing
    buckets: int = 1
    claims: list[Claim] = field(default_factory=list)
    claimers: list[int] = field(default_factory=list)
    beats: list[datetime] = field(default_factory=list)
    begun: list[AttemptStart] = field(default_factory=list)
    ends: list[AttemptEnd] = field(default_factory=list)

    async def claim(self, wanted: Claim, begin_with: BeginWith, claimer: int = 0) -> list[Claimed]:
        """The next of what is due, with the calls that are ready."""
        self.claims.append(wanted)
        self.claimers.append(claimer)
        await self.meanwhile()
        found = self.due.pop(0) if self.due else []
        if isinstance(found, Exception):
            raise found
        for one in found:
            begin_with(one)
        return found

    async def heartbeat(self, leases: Sequence[HeldLease], leased_until: datetime) -> dict[HeldLease, bool]:
        """Those that still hold."""
        self.beats.append(leased_until)
        await self.meanwhile()
        return dict.fromkeys(leases if self.kept is None else self.kept, True) | dict.fromkeys(self.written, False)

    async def begin(self, _operation: Operation, start: AttemptStart) -> bool:
        """On record."""
        self.begun.append(start)
        await self.meanwhile()
        return True

    async def record(self, _transition: Transition, *, attempt: AttemptEnd, **_how: object) -> bool:
        """It lands."""
        self.ends.append(attempt)
        return True


class SaidWakeup:
    """A wake-up that remembers how long it was to wait, and waits until it is poked."""

    def __init__(self) -> None:
        self.waits: asyncio.Queue[float] = asyncio.Queue()
        self.due = asyncio.Event()
        self.signals = 0

    def signal(self) -> None:
        """Wakes this process and the others."""
        self.signals += 1
        self.due.set()

    def poke(self) -> None:
        """Wakes."""
        self.due.set()

    async def wait(self, timeout: float) -> None:
        """Until it is poked, however long that takes."""
        self.waits.put_nowait(timeout)
        await self.due.wait()
        self.due.clear()

    async def next_wait(self) -> float:
        """The next wait that begins, in seconds."""
        async with asyncio.timeout(10):
            return await self.waits.get()


class OpenGate:
    """A gate that lets everything through."""

    def turn_at(self, _now: datetime) -> None:
        """Now."""

    async def slot(self, _timeout: float) -> contextlib.nullcontext[None]:
        """One is free."""
        return contextlib.nullcontext()


class SaidAgents:
    """Agents that take every call and answer as they are told."""

    def __init__(self, exchange: Exchange | None = None) -> None:
        self.exchange = exchange or Exchange(StepDone(), {"status": 200, "body": None}, Outcome.DONE)
        self.calls = 0
        self.meanwhile: Callable[[], Awaitable[None]] = nothing

    def render(self, *_: object) -> Any:
        """A request."""
        return REQUEST

    def gate(self, _agent: str) -> OpenGate:
        """Open."""
        return OpenGate()

    async def call(self, *_: object) -> Exchange:
        """The answer."""
        self.calls += 1
        await self.meanwhile()
        return self.exchange


@dataclass(frozen=True)
class _Request:
    agent: str = "supplier"
    method: str = "POST"
    url: str = "http://supplier/purchases"
    body: None = None
    recorded: Mapping[str, str | None] = field(
        default_factory=lambda: {"method": "POST", "url": "http://supplier/purchases", "body": None}
    )


REQUEST = _Request()


Kind = TypeVar("Kind", bound=Execution)


def execution_of(
    kind: type[Kind], store: object, agents: object, clock: FixedClock, one: Claimed, counted_from: float | None = None
) -> Kind:
    """The work on a claim."""
    leases = Leases(cast("Store", store), clock, LEASE)
    from_ = clock.monotonic() if counted_from is None else counted_from
    lease: Lease = leases.hold(one.operation, from_)
    parts = Parts(
        engine=cast("Any", None),
        store=cast("Store", store),
        sagas=cast("Sagas", None),
        agents=cast("Agents", agents),
        local=cast("Any", None),
        leases=leases,
        clock=clock,
        worker="worker-1",
        slot_wait=timedelta(seconds=1),
        draining=asyncio.Event(),
    )
    return kind(parts, one, lease, purchase_saga())


def as_store(store: SaidStore) -> Store:
    """As what the worker takes it for."""
    return cast("Store", store)


def as_wakeup(wakeup: SaidWakeup) -> Wakeup:
    """As what the worker takes it for."""
    return cast("Wakeup", wakeup)
