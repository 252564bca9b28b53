"""The wake-up: whoever made work tells the claimers, in this process at once and in the others by NOTIFY.

It is a hint and no more. NOTIFY is lost where nobody listens and while a connection is away, so the claimers poll as
well. A commit with a NOTIFY in it takes a lock on the whole database: so it is never in the transaction of a write,
but sent afterwards on a connection of its own, and many signals become one.
"""

import asyncio
import logging
from typing import Any

import asyncpg
from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from app.db.engine import connect, translated
from app.errors import DatabaseUnavailable

logger = logging.getLogger(__name__)

CHANNEL = "makegood_due"
# Seconds between two NOTIFYs of a process: a hundred a second wake everybody, more would only queue for the lock.
SPACING = 0.01
# Seconds of silence after which the connection is tried: a firewall may have dropped it without a word.
KEEPALIVE = 60.0
LONGEST_BACKOFF = 5.0  # seconds between two tries to connect; polling covers them


class Wakeup:
    """Wakes who waits for work.

    Args:
        url: of the database.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._due = asyncio.Event()
        self._to_tell = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.listening = asyncio.Event()

    def start(self) -> None:
        """Begins to listen and to tell, in a task; the database may be away."""
        self._task = asyncio.create_task(self._run(), name="wakeup")

    async def stop(self) -> None:
        """Ends both. What was to be told is left to the others' polling."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None

    def signal(self) -> None:
        """There is work: wakes this process now and the others soon. Never waits and never fails."""
        self._due.set()
        self._to_tell.set()

    def poke(self) -> None:
        """Wakes this process alone."""
        self._due.set()

    async def wait(self, timeout: float) -> None:
        """Returns when there may be work, at the latest after `timeout` seconds. One waits at a time."""
        try:
            async with asyncio.timeout(timeout):
                await self._due.wait()
        except TimeoutError:
            return
        self._due.clear()

    async def _run(self) -> None:
        trying = AsyncRetrying(
            retry=retry_if_exception_type(DatabaseUnavailable),
            wait=wait_random_exponential(multiplier=0.1, max=LONGEST_BACKOFF),
        )
        while True:
            connection: asyncpg.Connection[Any] = await trying(connect, self._url)
            try:
                with translated():
                    await self._serve(connection)
            except DatabaseUnavailable as error:
                logger.warning("wakeup_lost", extra={"error": str(error)})
            except Exception:
                # Where a server refuses to be listened to, polling does without; but it may not refuse for ever.
                logger.exception("wakeup_failed")
                await asyncio.sleep(LONGEST_BACKOFF)
            finally:
                self.listening.clear()
                connection.terminate()
            await asyncio.sleep(SPACING)

    async def _serve(self, connection: "asyncpg.Connection[Any]") -> None:
        """Listens and tells until the connection breaks, which raises."""
        own = connection.get_server_pid()

        def heard(_connection: object, pid: int, _channel: str, _payload: object) -> None:
            if pid != own:
                self._due.set()

        connection.add_termination_listener(lambda _: self._to_tell.set())
        await connection.add_listener(CHANNEL, heard)
        self.listening.set()
        self._due.set()  # for what was not heard while nobody listened
        while True:
            try:
                async with asyncio.timeout(KEEPALIVE):
                    await self._to_tell.wait()
            except TimeoutError:
                await connection.execute("SELECT 1")
                continue
            self._to_tell.clear()
            await connection.execute(f"NOTIFY {CHANNEL}")
            await asyncio.sleep(SPACING)
