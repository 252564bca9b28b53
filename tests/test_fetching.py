"""What a webhook's provider wants fetched: read once, from there alone, within bounds, and kept when it has proved good."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, cast

import httpx
import pytest

from app.agents import Agents
from app.agents.pages import AT_ONCE, Pages
from app.errors import SignatureInvalid, Unavailable
from app.fetching import KEPT, MOST_KEPT, Fetching
from app.providers import Address, Delivery, Provider, Verified
from app.providers.refunds import Question
from app.settings import Agent, Source
from tests.builders import FixedClock
from tests.intake.door import SHOP

CERTIFICATE = Address("https://certificates.example/certs/1?version=2")
PAYMENT = Question("GET", "/payments/tr_1")
ASKED = replace(SHOP, api="psp")
PROOF = b"the certificate"


class Notary:
    """A provider whose webhooks are true where what was fetched for them is the proof."""

    def verify_with(
        self, source: Source, headers: Mapping[str, str], body: bytes, now: datetime, fetched: bytes
    ) -> Verified:
        """Verifies."""
        del source, headers, now
        if fetched != PROOF:
            raise SignatureInvalid("that is no proof")
        return Verified(Delivery("msg_1"), body)


@dataclass
class Partner:
    """Whoever is asked.

    Args:
        answers: one after the other; the last one stays.
    """

    answers: list[httpx.Response | Exception] = field(default_factory=lambda: [httpx.Response(200, content=PROOF)])
    asked: list[httpx.Request] = field(default_factory=list)
    held: asyncio.Event | None = None

    async def answer(self, request: httpx.Request) -> httpx.Response:
        """The next answer."""
        self.asked.append(request)
        if self.held is not None:
            await self.held.wait()
        said = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(said, Exception):
            raise said
        return httpx.Response(said.status_code, headers=said.headers, content=said.content)


@dataclass
class Stand:
    """Something that fetches, and a way to have it verify."""

    fetching: Fetching
    partner: Partner
    clock: FixedClock

    async def verify(self, wanted: Address | Question = CERTIFICATE, body: bytes = b"{}") -> Verified | None:
        """Verifies a webhook that wants something."""
        return await self.fetching.verified(cast("Provider", Notary()), ASKED, {}, body, wanted)


@contextlib.asynccontextmanager
async def standing(*answers: httpx.Response | Exception) -> AsyncIterator[Stand]:
    clock, partner = FixedClock(), Partner()
    if answers:
        partner.answers = list(answers)
    transport = httpx.MockTransport(partner.answer)
    agents = Agents({"psp": Agent("psp", "https://psp.example/v2")}, clock, transport)
    pages = Pages(transport)
    yield Stand(Fetching(agents, pages, clock), partner, clock)
    await pages.aclose()
    await agents.aclose()


async def test_a_page_is_read_without_credentials_and_kept() -> None:
    async with standing() as stand:
        assert await stand.verify() == Verified(Delivery("msg_1"), b"{}")
        assert await stand.verify() is not None
        [asked] = stand.partner.asked
        assert (asked.method, str(asked.url)) == ("GET", CERTIFICATE.url)
        assert "authorization" not in asked.headers
        stand.clock.advance(KEPT + timedelta(seconds=1))
        await stand.verify()
        assert len(stand.partner.asked) == 2


async def test_those_who_want_the_same_page_have_it_read_once() -> None:
    async with standing() as stand:
        stand.partner.held = asyncio.Event()
        waiting = [asyncio.create_task(stand.verify()) for _ in range(20)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        stand.partner.held.set()
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(ended[0], asyncio.CancelledError)
        assert all(isinstance(one, Verified) for one in ended[1:])
        assert len(stand.partner.asked) == 1


@pytest.mark.parametrize(
    "said",
    [
        httpx.Response(302, headers={"Location": "https://certificates.example/certs/2"}),
        httpx.Response(404),
        httpx.Response(500),
        httpx.Response(200, content=b"x" * 70_000),
        httpx.ReadTimeout("slow"),
        httpx.ConnectError("away"),
    ],
)
@pytest.mark.parametrize("wanted", [CERTIFICATE, PAYMENT])
async def test_what_does_not_come_whole_is_to_be_sent_again(
    said: httpx.Response | Exception, wanted: Address | Question
) -> None:
    async with standing(said, httpx.Response(200, content=PROOF)) as stand:
        if isinstance(wanted, Question) and isinstance(said, httpx.Response) and said.status_code == 404:
            assert await stand.verify(wanted) is None
        else:
            with pytest.raises(Unavailable):
                await stand.verify(wanted)
        assert len(stand.partner.asked) == 1  # no redirect was followed, nothing was tried again
        assert await stand.verify(wanted) is not None


async def test_a_page_that_proves_nothing_is_not_kept() -> None:
    """A broken proxy answers 200 with a page of its own: kept, it would refuse every webhook for a day."""
    async with standing(httpx.Response(200, content=b"<html>"), httpx.Response(200, content=PROOF)) as stand:
        with pytest.raises(SignatureInvalid):
            await stand.verify()
        assert await stand.verify() is not None


async def test_no_more_pages_are_kept_than_a_provider_can_have() -> None:
    async with standing() as stand:
        for number in range(MOST_KEPT + 1):
            await stand.verify(Address(f"https://certificates.example/{number}"))
        await stand.verify(Address("https://certificates.example/1"))
        assert len(stand.partner.asked) == MOST_KEPT + 1
        await stand.verify(Address("https://certificates.example/0"))
        assert len(stand.partner.asked) == MOST_KEPT + 2


@pytest.mark.parametrize(
    "wanted", [lambda number: Address(f"https://certificates.example/{number}"), lambda _: PAYMENT]
)
async def test_strangers_cannot_have_any_number_of_things_read_at_once(
    wanted: Callable[[int], Address | Question],
) -> None:
    async with standing() as stand:
        stand.partner.held = asyncio.Event()
        waiting = [asyncio.create_task(stand.verify(wanted(number))) for number in range(AT_ONCE + 3)]
        async with asyncio.timeout(10):
            while len(stand.partner.asked) < AT_ONCE:
                await asyncio.sleep(0)
        stand.partner.held.set()
        ended: list[Any] = await asyncio.gather(*waiting, return_exceptions=True)
        assert sum(isinstance(one, Unavailable) for one in ended) == 3
        assert sum(isinstance(one, Verified) for one in ended) == AT_ONCE


async def test_an_agent_is_asked_with_what_it_is_told_by_the_provider() -> None:
    async with standing() as stand:
        assert await stand.verify(PAYMENT, b"id=tr_1") == Verified(Delivery("msg_1"), b"id=tr_1")
        await stand.verify(PAYMENT)
        assert [str(one.url) for one in stand.partner.asked] == ["https://psp.example/v2/payments/tr_1"] * 2


async def test_a_source_whose_agent_is_gone_is_told_to_send_again() -> None:
    async with standing() as stand:
        with pytest.raises(Unavailable, match="no agent"):
            await stand.fetching.verified(cast("Provider", Notary()), SHOP, {}, b"", PAYMENT)
