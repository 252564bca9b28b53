"""Between the webhook's door and its verification: what its provider wants fetched first, and what that proves.

Only the webhooks of a provider that says so come by here. Who sends them is not known yet, so all of it is bounded: in time,
in bytes, and in how many are under way.
"""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import assert_never

from app.agents import Agents
from app.agents.answer import LARGEST_RESULT, Reply
from app.agents.pages import AT_ONCE, SECONDS, Pages
from app.clock import Clock
from app.errors import Unavailable
from app.providers import Address, Provider, Verified
from app.providers.refunds import Question
from app.settings import Source

# How long a page that has proved good is kept: a certificate that its owner has taken back is believed no longer.
KEPT = timedelta(hours=24)
# And how many: a provider has one or two at a time.
MOST_KEPT = 32

# What an agent says of a thing that it does not know.
UNKNOWN_THERE = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)


class Fetching:
    """What the webhooks of one process have fetched.

    Args:
        agents: who is asked; one question more or less changes nothing there.
        clock: how long a page is kept.
    """

    def __init__(self, agents: Agents, pages: Pages, clock: Clock) -> None:
        self._agents = agents
        self._pages = pages
        self._clock = clock
        self._kept: dict[str, tuple[float, bytes]] = {}  # since when, by the monotonic clock
        self._questions = 0

    async def verified(
        self, provider: Provider, source: Source, headers: Mapping[str, str], body: bytes, wanted: Address | Question
    ) -> Verified | None:
        """Fetches what is wanted, and verifies with it; None: the agent knows nothing of it, so there is nothing to hear.

        Raises:
            SignatureInvalid, MalformedBody: as for the provider's `verify_with`.
            Unavailable: it could not be fetched now; the sender is to send it again.
        """
        now = self._clock.wall()
        match wanted:
            case Address():
                return await self._by_page(provider, source, headers, body, now, wanted.url)
            case Question():
                answer = await self._ask(source, wanted)
                return None if answer is None else provider.verify_with(source, headers, body, now, answer)
            case _:
                assert_never(wanted)

    async def _by_page(
        self, provider: Provider, source: Source, headers: Mapping[str, str], body: bytes, now: datetime, url: str
    ) -> Verified:
        page = self._page(url)
        if page is not None:
            return provider.verify_with(source, headers, body, now, page)
        page = await self._pages.read(url)
        verified = provider.verify_with(source, headers, body, now, page)
        # Kept only now: what a broken proxy has answered instead of the page would refuse all webhooks for a day.
        if len(self._kept) >= MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[url] = (self._clock.monotonic(), page)
        return verified

    def _page(self, url: str) -> bytes | None:
        since, page = self._kept.get(url, (0.0, None))
        if page is not None and self._clock.monotonic() - since > KEPT.total_seconds():
            del self._kept[url]
            return None
        return page

    async def _ask(self, source: Source, question: Question) -> bytes | None:
        # Bounded apart from the agent's own slots: refunds go through those, and anyone can post an id here.
        if self._questions >= AT_ONCE:
            raise Unavailable("too many webhooks are being looked up")
        self._questions += 1
        try:
            async with asyncio.timeout(SECONDS):
                came = await self._agents.inquire(source.api or "", question, wait=SECONDS)
        except TimeoutError as error:
            raise Unavailable(f"{source.api}: no answer within {SECONDS:g} s") from error
        finally:
            self._questions -= 1
        if not isinstance(came, Reply):
            raise Unavailable(f"{source.api}: {came.detail}")
        if came.status in UNKNOWN_THERE:
            return None
        if not came.succeeded or len(came.body) > LARGEST_RESULT:
            raise Unavailable(f"{source.api}: answered {came.status}", status=came.status)
        return came.body
