"""The only place where the objects of a process are built and put together."""

import asyncio
import logging
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from functools import partial

from app.agents import Agents
from app.agents.pages import Pages
from app.api.context import Context
from app.clock import DatabaseClock
from app.control import Control
from app.db import embedded, schema
from app.db.engine import AsyncEngine, create, reach, synchronise
from app.db.sagas import Sagas
from app.db.store import Store
from app.db.wakeup import Wakeup
from app.errors import DatabaseUnavailable
from app.fetching import Fetching
from app.intake import Intake
from app.reconcile import Reconciler
from app.settings import Settings
from app.worker.runner import Runner, keep_up, parts_of

logger = logging.getLogger(__name__)

# A quartz clock drifts by some milliseconds in this time, far less than a lease.
CLOCK_INTERVAL = timedelta(seconds=30)


class Role(StrEnum):
    """What a process does."""

    ALL = "all"
    API = "api"
    WORKER = "worker"


@dataclass(slots=True)
class Service:
    """A process that runs: what its HTTP side needs, its worker if it is one, and all that is to be closed.

    Args:
        url: of the database.
        reconciler: for whoever asks for it; a worker has it on a schedule.
    """

    url: str
    context: Context
    runner: Runner | None
    reconciler: Reconciler
    closing: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def stop(self) -> None:
        """Takes no new work, lets calls that are out come to their end, writes what waits, closes everything."""
        self.context.stopping.set()
        if self.runner is not None:
            await self.runner.stop()
        await self.closing.aclose()


async def database_url(settings: Settings, closing: AsyncExitStack) -> str:
    """The database's URL. Where none is configured, the embedded PostgreSQL is started, or joined, and migrated.

    Args:
        closing: what is to be closed at the end goes here.

    Raises:
        EmbeddedDatabaseError: the embedded PostgreSQL cannot be started.
        DatabaseUnavailable: a configured database cannot be reached.
    """
    url = settings.database.url
    if url is not None:
        await reach(url)
        return url
    server = await asyncio.to_thread(embedded.start, settings.database.data_dir)
    closing.push_async_callback(asyncio.to_thread, server.close)
    await schema.upgrade(server.url)
    return server.url


async def build(settings: Settings, role: Role) -> Service:
    """Builds and starts a process.

    Raises:
        DatabaseBehind: a configured database is not migrated; the message names the command.
        DatabaseUnavailable, EmbeddedDatabaseError: as for `database_url`.
    """
    async with AsyncExitStack() as closing:
        url = await database_url(settings, closing)
        engine = create(url, settings.database.pool_size)
        closing.push_async_callback(engine.dispose)
        await schema.check(engine)
        clock = await _clock(engine, closing)
        store = Store(url, await schema.buckets(engine), clock)
        closing.push_async_callback(store.close)
        wakeup = Wakeup(url)
        wakeup.start()
        closing.push_async_callback(wakeup.stop)
        sagas = Sagas(engine, settings.limits(), settings.sagas.values())
        agents = Agents(settings.agents, clock)
        closing.push_async_callback(agents.aclose)
        runner = None
        if role is not Role.API:
            runner = Runner(settings, parts_of(settings, engine, store, sagas, agents, clock), wakeup)
        starter = runner.starter if runner is not None else None
        context = Context(
            settings=settings,
            engine=engine,
            clock=clock,
            sagas=sagas,
            intake=Intake(engine, store, sagas, settings.sagas, clock, wakeup, starter),
            control=Control(engine, store, sagas, clock, wakeup),
            fetching=_fetching(agents, clock, closing),
            readiness=partial(schema.check, engine),
        )
        reconciler = Reconciler(engine, context.intake, agents, clock)
        if runner is not None:
            runner.start(reconciler)
        return Service(url, context, runner, reconciler, closing.pop_all())


async def _clock(engine: AsyncEngine, closing: AsyncExitStack) -> DatabaseClock:
    clock = DatabaseClock()
    await synchronise(engine, clock)
    keeping_time = asyncio.create_task(keep_up(partial(_keep_time, engine, clock), CLOCK_INTERVAL), name="clock")
    closing.callback(keeping_time.cancel)
    return clock


def _fetching(agents: Agents, clock: DatabaseClock, closing: AsyncExitStack) -> Fetching:
    pages = Pages()
    closing.push_async_callback(pages.aclose)
    return Fetching(agents, pages, clock)


async def _keep_time(engine: AsyncEngine, clock: DatabaseClock) -> None:
    """Asks the database for the time once in a while."""
    while True:
        await asyncio.sleep(CLOCK_INTERVAL.total_seconds())
        try:
            await synchronise(engine, clock)
        except DatabaseUnavailable as error:
            logger.warning("clock_not_read", extra={"error": str(error)})
