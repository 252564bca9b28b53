"""Starts and stops the duties of a worker process: claim, heartbeat, supervise, retention, reconcile."""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial

from app.agents import Agents
from app.clock import Clock
from app.db.claim import Claimed
from app.db.engine import AsyncEngine
from app.db.local import LocalTransactions
from app.db.reconciliations import Turns
from app.db.sagas import Sagas
from app.db.store import Store
from app.db.wakeup import Wakeup
from app.reconcile import Reconciler
from app.saga.definition import LocalCall
from app.saga.model import Operation
from app.settings import Settings
from app.worker.ahead import Prepared, make_ready
from app.worker.claim import Claimer
from app.worker.execute import execute
from app.worker.execution import Execution, Parts, persist
from app.worker.lease import Lease, Leases
from app.worker.reconciliations import LEASE_MARGIN, LOOK_INTERVAL, Reconciliations
from app.worker.retention import Sweeper
from app.worker.supervise import Supervisor

logger = logging.getLogger(__name__)

# What a call may take beyond its agent's timeout until its answer is recorded.
DRAIN_MARGIN = timedelta(seconds=5)


def worker_name() -> str:
    """A name of this process that no earlier process had: who holds a lease is known by the lease alone."""
    return f"worker-{secrets.token_hex(4)}"


def parts_of(
    settings: Settings, engine: AsyncEngine, store: Store, sagas: Sagas, agents: Agents, clock: Clock
) -> Parts:
    """What the duties of one worker process share."""
    return Parts(
        engine=engine,
        store=store,
        sagas=sagas,
        agents=agents,
        local=LocalTransactions(engine, store.buckets, settings.database.pool_size),
        leases=Leases(store, clock, settings.worker.lease),
        clock=clock,
        worker=worker_name(),
        slot_wait=settings.worker.poll_interval,
        draining=asyncio.Event(),
    )


def reconciliations_of(settings: Settings, parts: Parts, reconciler: Reconciler) -> Reconciliations:
    """The schedules of the configuration."""
    longest = max((agent.timeout for agent in settings.agents.values()), default=timedelta(0))
    turns = Turns(parts.engine, LEASE_MARGIN + longest)
    return Reconciliations(reconciler, turns, settings.sources.values(), parts.clock)


class Runner:
    """All duties of one worker process."""

    def __init__(self, settings: Settings, parts: Parts, wakeup: Wakeup) -> None:
        self.name = parts.worker
        self._settings = settings
        self._parts = parts
        self._supervisor = Supervisor(parts.store, parts.sagas, parts.clock, wakeup, parts.worker)
        self._sweeper = Sweeper(parts.engine, settings.retention, parts.clock)
        self._claimer = Claimer(
            parts.store,
            parts.leases,
            parts.clock,
            wakeup,
            self._carry_out,
            partial(make_ready, parts),
            worker=parts.worker,
            concurrency=settings.worker.concurrency,
            lease=settings.worker.lease,
            poll_interval=settings.worker.poll_interval,
        )
        # Starts the new operations that this process itself is told of.
        self.starter = self._claimer
        self._claiming: asyncio.Task[None] | None = None
        self._duties: list[asyncio.Task[None]] = []

    def start(self, reconciler: Reconciler) -> None:
        """Starts all duties.

        Args:
            reconciler: takes payments in as webhooks do, and so is made when this runner can be told of them.
        """
        interval = self._settings.worker.poll_interval
        self._claiming = asyncio.create_task(keep_up(self._claimer.run, interval), name="claim")
        self._duties = [
            asyncio.create_task(keep_up(self._parts.leases.run, interval), name="heartbeat"),
            asyncio.create_task(keep_up(partial(self._supervisor.run, interval), interval), name="supervise"),
            asyncio.create_task(keep_up(self._sweeper.run, interval), name="retention"),
        ]
        if any(source.reconcile for source in self._settings.sources.values()):
            reconciliations = reconciliations_of(self._settings, self._parts, reconciler)
            reconciling = keep_up(reconciliations.run, LOOK_INTERVAL)
            self._duties.append(asyncio.create_task(reconciling, name="reconcile"))

    def drain(self) -> None:
        """Takes no new claims; the calls that are out come to their end."""
        self._parts.draining.set()
        if self._claiming is not None:
            self._claiming.cancel()

    async def stop(self) -> None:
        """Drains, then stops.

        A call that has not ended after its agent's timeout is left: its lease runs out, and its outcome is unknown.
        """
        self.drain()
        await _cancel([self._claiming] if self._claiming else [])
        if self._claimer.running:
            _, late = await asyncio.wait(self._claimer.running, timeout=self._drain_limit().total_seconds())
            await _cancel(list(late))
        await _cancel(self._duties)

    def _drain_limit(self) -> timedelta:
        timeouts = [agent.timeout for agent in self._settings.agents.values()]
        calls = [call for saga in self._settings.sagas.values() for step in saga.steps for call in (step.do, step.undo)]
        timeouts += [call.timeout for call in calls if isinstance(call, LocalCall)]
        return max(timeouts, default=timedelta(0)) + DRAIN_MARGIN

    async def _carry_out(self, claimed: Claimed, lease: Lease, prepared: Prepared | None) -> Operation | None:
        saga_hash = claimed.operation.saga_hash
        saga = self._parts.sagas.known(saga_hash)
        if saga is None:
            saga = await persist(lambda: self._parts.sagas.get(saga_hash))
        return await execute(Execution(self._parts, claimed, lease, saga), claimed.operation, prepared)


async def keep_up(duty: Callable[[], Awaitable[None]], pause: timedelta) -> None:
    """Carries a duty out until it is cancelled.

    None ends by itself. Where one fails, that is a mistake which must be seen; but a process that lives on and claims
    nothing any more, or lets its leases run out, would be worse than one that tries again.
    """
    while True:
        try:
            await duty()
        except Exception:
            task = asyncio.current_task()
            logger.critical("duty_failed", exc_info=True, extra={"duty": task and task.get_name()})
        await asyncio.sleep(pause.total_seconds())


async def _cancel(tasks: "list[asyncio.Task[None]]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
