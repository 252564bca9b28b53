"""Group commit: many callers, one transaction after the other, and nobody is answered before his own is on disk.

One flush is under way at a time. Whatever arrives meanwhile is the next batch, so there is no timer: an idle system
answers at once, and a busy one writes more rows a transaction the busier it is.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar

from app.db.writer import PoisonedBatch, Writer
from app.errors import DatabaseUnavailable

Item = TypeVar("Item")
Result = TypeVar("Result")

Flush = Callable[["Writer", Sequence[Item]], Awaitable[Sequence[Result]]]


class GroupCommit(Generic[Item, Result]):
    """Gathers items and writes them in batches.

    Args:
        writer: the connection that the batches go over, one at a time.
        flush: writes a batch in one transaction and returns a result for each item, in order.
        most: items in a batch.
        key: items of the same key never share a batch (the second was decided on before the first landed).
        most_waiting: items that may wait; one more is refused, so that memory does not grow while the database stands.
        within: seconds after which a caller is told that the database is away, though his item may be written yet; None
            lets him wait.
    """

    def __init__(
        self,
        writer: "Writer",
        flush: "Flush[Item, Result]",
        *,
        most: int,
        key: Callable[[Item], Hashable] | None = None,
        most_waiting: int = 10_000,
        within: float | None = None,
    ) -> None:
        self._writer = writer
        self._flush = flush
        self._most = most
        self._key = key
        self._most_waiting = most_waiting
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._flushing: asyncio.Task[None] | None = None
        self._within = within
        self._promised: deque[tuple[float, asyncio.Future[Result]]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def submit(self, item: Item) -> Result:
        """Writes an item with the next batch and returns its result once that is committed.

        A caller that goes away takes nothing back: its item is written all the same.

        Raises:
            DatabaseUnavailable: the database did not take it, or not in time; it may or may not be written.
        """
        return await self.put(item)

    def put(self, item: Item) -> "asyncio.Future[Result]":
        """As `submit`, for who waits in his own way.

        Raises:
            DatabaseUnavailable: too much is waiting already.
        """
        if len(self._waiting) >= self._most_waiting:
            raise DatabaseUnavailable("too much is waiting to be written")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._waiting.append((item, future))
        if self._within is not None:
            self._promised.append((loop.time() + self._within, future))
            if self._timer is None:
                self._timer = loop.call_later(self._within, self._give_up)
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush_all())
        return future

    async def close(self) -> None:
        """Waits until all that was submitted is written."""
        while self._flushing is not None:
            await asyncio.wait([self._flushing])
        if self._timer is not None:
            self._timer.cancel()

    def _give_up(self) -> None:
        """Tells those whose time is over. One timer for all: each having his own would cost more than his row."""
        loop = asyncio.get_running_loop()
        while self._promised and (self._promised[0][0] <= loop.time() or self._promised[0][1].done()):
            _, future = self._promised.popleft()
            if not future.done():
                future.set_exception(DatabaseUnavailable("the database has not taken it in time"))
                future.exception()  # looked at, in case that nobody waits any more
        self._timer = loop.call_at(self._promised[0][0], self._give_up) if self._promised else None

    async def _flush_all(self) -> None:
        try:
            while self._waiting:
                await self._flush_batch(self._take())
        finally:
            self._flushing = None

    def _take(self) -> list[tuple[Item, asyncio.Future[Result]]]:
        """The next batch, in the order of arrival; a second item of one key waits for the next."""
        if self._key is None:
            return [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
        batch: list[tuple[Item, asyncio.Future[Result]]] = []
        left: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        seen: set[Hashable] = set()
        while self._waiting and len(batch) < self._most:
            entry = self._waiting.popleft()
            key = self._key(entry[0])
            (left if key in seen else batch).append(entry)
            seen.add(key)
        self._waiting.extendleft(reversed(left))
        return batch

    async def _flush_batch(self, batch: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            results = await self._flush(self._writer, [item for item, _ in batch])
        except PoisonedBatch as error:
            await self._split(batch, error)
        except Exception as error:  # noqa: BLE001 - each caller gets it, none waits for ever
            _fail(batch, error)
        else:
            for (_, future), result in zip(batch, results, strict=True):
                if not future.done():
                    future.set_result(result)

    async def _split(self, batch: list[tuple[Item, asyncio.Future[Result]]], error: PoisonedBatch) -> None:
        """One row that PostgreSQL refuses must not fail its neighbours: it is found by halving, and fails alone."""
        if len(batch) == 1:
            _fail(batch, error.__cause__ or error)
            return
        middle = len(batch) // 2
        await self._flush_batch(batch[:middle])
        await self._flush_batch(batch[middle:])


def _fail(batch: Sequence[tuple[object, "asyncio.Future[Result]"]], error: BaseException) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)
            # A caller that has gone never looks: without this the loop would complain of an exception nobody fetched.
            future.exception()
