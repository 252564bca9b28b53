"""A provider's payments, page by page: through its agent's gate, and again after a while where it cannot answer now."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from app.agents import Agents, SlotUnavailable
from app.agents.answer import NOT_NOW, Reply, read_retry_after
from app.clock import Clock
from app.errors import Rejected, Unavailable
from app.providers.refunds import Answered, PaidPage, Payments, Question
from app.settings import Source

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

# A page of a hundred payments is half a megabyte at those that tell most of each.
LARGEST_PAGE = 8 * 1024 * 1024
# How often one page is asked for, and how long is waited in between: 1, 2, 4, 8, 16 s, or as long as the provider asks.
MOST_TRIES = 6
FIRST_WAIT = timedelta(seconds=1)
LONGEST_WAIT = timedelta(minutes=2)
# Seconds to wait for one of the agent's slots, which refunds use as well.
SLOT_WAIT = 30.0
# More pages than any account has payments in a window: a provider that hands out pages for ever is left at some time.
MOST_PAGES = 100_000

_UNREADABLE = "the answer cannot be read as a list of payments"
_SERVER_ERROR = 5  # the first digit of a status

Before = Callable[[], Awaitable[None]]


async def at_once() -> None:
    """Before a question, where nothing must be done."""


class Asking:
    """The questions of one reconciliation.

    Args:
        before: is awaited before each question; what it raises ends the reconciliation.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        agents: Agents,
        source: Source,
        clock: Clock,
        before: Before = at_once,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    ) -> None:
        self._agents = agents
        self._source = source
        self._agent = source.api or ""
        self._clock = clock
        self._before = before
        self._sleep = sleep

    async def pages(
        self, payments: Payments, since: datetime, until: datetime
    ) -> AsyncIterator[tuple[PaidPage, datetime]]:
        """The pages of what was paid in a window, each with the time when it was asked for.

        Raises:
            Rejected: the provider refuses to tell, or tells what cannot be read.
            Unavailable: it did not answer, however often it was asked.
        """
        page: str | None = None
        for _ in range(MOST_PAGES):
            question = self._said(partial(payments.search, self._source, since, until, page))
            if question is None:
                return
            asked_at = self._clock.now()
            reply = await self._ask(question)
            answered = Answered(reply.status, reply.headers or {}, reply.json)
            found = self._said(partial(payments.found, self._source, answered)) if reply.is_json else None
            if found is None:
                raise Rejected(f"{self._agent}: {_UNREADABLE}", status=reply.status)
            yield found, asked_at
            if found.next_page is None:
                return
            if found.next_page == page:
                break
            page = found.next_page
        raise Rejected(f"{self._agent}: the list of payments has no end")

    def _said(self, say: Callable[[], Result]) -> Result:
        """What a provider says. Raises Rejected where it stumbles over an answer that nobody has thought of."""
        try:
            return say()
        except Exception as error:
            logger.warning("answer_unreadable", exc_info=True)
            raise Rejected(f"{self._agent}: {_UNREADABLE}") from error

    async def _ask(self, question: Question) -> Reply:
        why = ""
        for number in range(MOST_TRIES):
            await self._before()
            reply, why, wait = await self._once(question)
            if reply is not None:
                return reply
            backoff = min(FIRST_WAIT * 2**number, LONGEST_WAIT) * (0.5 + random.random() / 2)  # noqa: S311 - jitter
            if number + 1 == MOST_TRIES or (wait or backoff) > LONGEST_WAIT:
                break
            await self._sleep((wait or backoff).total_seconds())
        raise Unavailable(why)

    async def _once(self, question: Question) -> tuple[Reply | None, str, timedelta | None]:
        """The answer; or why there is none, and how long we are asked to wait."""
        try:
            came = await self._agents.inquire(self._agent, question, wait=SLOT_WAIT, largest=LARGEST_PAGE)
        except SlotUnavailable as closed:
            return None, closed.detail, closed.until - self._clock.now()
        if not isinstance(came, Reply):
            return None, f"{self._agent}: {came.detail}", None
        if came.succeeded:
            return came, "", None
        why = f"{self._agent} answered {came.status}"
        if came.status not in NOT_NOW and came.status // 100 != _SERVER_ERROR:
            raise Rejected(f"{why}: it does not tell its payments", status=came.status)
        now = self._clock.now()
        retry_at = read_retry_after(came.retry_after, now)
        return None, why, None if retry_at is None else retry_at - now
