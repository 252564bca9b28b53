"""A claimer at work over a store that says what it is told."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, cast

from app.db.claim import Claimed
from app.saga.model import Json, Operation, Status
from app.worker.ahead import MakeReady, Prepared
from app.worker.claim import Claimer
from app.worker.lease import Lease, Leases
from tests.builders import FixedClock
from tests.worker.stage import LEASE, SaidStore, SaidWakeup, as_store, as_wakeup

POLL = timedelta(seconds=60)


def none_ready(_operation: Operation, _event: object) -> None:
    """Each call has to wait for something."""


@dataclass
class Shift:
    """A claimer at work, and what it works on.

    Args:
        again: when an operation is to run again, by its payment; else it has succeeded.
        broken: payments whose operations break whoever works on them.
        make_ready: makes calls ready; none, unless a test says otherwise.
    """

    store: SaidStore
    clock: FixedClock = field(default_factory=FixedClock)
    wakeup: SaidWakeup = field(default_factory=SaidWakeup)
    again: dict[str, datetime] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    concurrency: int = 4
    make_ready: MakeReady = none_ready
    may_end: asyncio.Event = field(default_factory=asyncio.Event)
    worked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.may_end.set()
        self.leases = Leases(as_store(self.store), self.clock, LEASE)
        self.claimer = Claimer(
            as_store(self.store),
            self.leases,
            self.clock,
            as_wakeup(self.wakeup),
            self.work,
            self.make_ready,
            worker="worker-1",
            concurrency=self.concurrency,
            lease=LEASE,
            poll_interval=POLL,
        )

    async def work(self, one: Claimed, _lease: Lease, _prepared: Prepared | None) -> Operation | None:
        """The work on one claim."""
        await self.may_end.wait()
        payment = one.operation.external_id
        self.worked.append(payment)
        if payment in self.broken:
            raise ValueError(payment)
        if payment in self.again:
            return replace(one.operation, status=Status.ERROR, next_run_at=self.again[payment])
        return replace(one.operation, status=Status.SUCCEEDED)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """While the block runs, so does the claimer."""
        running = asyncio.create_task(self.claimer.run())
        try:
            yield
        finally:
            running.cancel()
            await asyncio.wait({running})
            assert running.cancelled()


async def settle() -> None:
    """Lets everything run that can."""
    for _ in range(50):
        await asyncio.sleep(0)


class Slots:
    """The slots of an agent: how many are held."""

    def __init__(self, most: int = 100) -> None:
        self.held = 0
        self.most = most
        self.asked: list[tuple[Operation, Json]] = []

    def release(self) -> None:
        """One is given back."""
        assert self.held > 0, "given back twice"
        self.held -= 1

    def make_ready(self, operation: Operation, event: Callable[[], Json]) -> Prepared | None:
        """A call that holds one."""
        self.asked.append((operation, event()))
        if self.held >= self.most:
            return None
        self.held += 1
        nothing = cast("Any", None)
        return Prepared(nothing, nothing, cast("Any", self), nothing)


class Working(Shift):
    """A shift whose work ends a prepared call as the worker does."""

    async def work(self, one: Claimed, lease: Lease, prepared: Prepared | None) -> Operation | None:
        """The work on one claim; its slot is free afterwards."""
        try:
            return await super().work(one, lease, prepared)
        finally:
            if prepared is not None:
                prepared.slot.release()


def shift_of(*due: list[Claimed] | Exception, slots: Slots, **how: Any) -> Working:
    return Working(SaidStore([*due]), make_ready=slots.make_ready, **how)
