"""A provider that cannot answer now is asked again, in a while that it may choose; one that refuses is not."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from app.agents import Agents
from app.errors import Rejected, Unavailable
from app.providers.refunds import Answered, PaidPage, Payments, Question
from app.reconcile.asking import LARGEST_PAGE, MOST_TRIES, Asking, at_once
from app.settings import Agent, Breaker, Source
from tests.builders import NOW, FixedClock
from tests.reconcile.books import DAY, SHOP


class Pages(Payments):
    """A list of numbers, a page each; `next` says which one follows."""

    def search(self, source: Source, since: datetime, until: datetime, page: str | None) -> Question:
        """A page."""
        del source, since, until
        return Question("GET", f"/payments?page={page or 1}")

    def found(self, source: Source, answered: Answered) -> PaidPage | None:
        """What is on it."""
        del source
        said = answered.json
        return PaidPage((), next_page=said.get("next")) if isinstance(said, dict) else None


@dataclass
class Line:
    """A line to a provider that answers as it is told, and a sleep that takes no time."""

    answers: list[httpx.Response | Exception]
    clock: FixedClock = field(default_factory=FixedClock)
    asked: list[str] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)

    async def answer(self, request: httpx.Request) -> httpx.Response:
        """The next answer; the last one stays."""
        self.asked.append(request.url.query.decode())
        said = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(said, Exception):
            raise said
        return httpx.Response(said.status_code, headers=said.headers, content=said.content)

    async def sleep(self, seconds: float) -> None:
        """Time passes."""
        self.slept.append(seconds)
        self.clock.advance(timedelta(seconds=seconds))

    async def pages(
        self, before: Callable[[], Awaitable[None]] = at_once, payments: Payments | None = None, **agent: Any
    ) -> int:
        """How many pages came."""
        agents = Agents(
            {"psp": Agent("psp", "https://psp.example", **agent)}, self.clock, httpx.MockTransport(self.answer)
        )
        asking = Asking(agents, SHOP, self.clock, before, self.sleep)
        try:
            return len([page async for page in asking.pages(payments or Pages(), NOW - DAY, NOW)])
        finally:
            await agents.aclose()


def page(next_page: str | None = None) -> httpx.Response:
    return httpx.Response(200, content=json.dumps({"next": next_page}).encode())


@pytest.mark.parametrize(
    "trouble",
    [
        httpx.Response(429),
        httpx.Response(409),
        httpx.Response(500),
        httpx.Response(503),
        httpx.ConnectError("away"),
        httpx.ReadTimeout("slow"),
    ],
)
async def test_a_page_that_cannot_be_had_now_is_asked_for_again(trouble: httpx.Response | Exception) -> None:
    line = Line([page("2"), trouble, trouble, page()])
    assert await line.pages() == 2
    assert line.asked == ["page=1", "page=2", "page=2", "page=2"]
    assert 0.5 <= line.slept[0] <= 1
    assert 1 <= line.slept[1] <= 2


async def test_a_provider_says_how_long_to_wait(caplog: pytest.LogCaptureFixture) -> None:
    line = Line([httpx.Response(429, headers={"Retry-After": "90"}), page()])
    assert await line.pages() == 1
    assert line.slept == [90]
    assert not caplog.records


async def test_one_that_asks_for_too_long_a_wait_is_left(caplog: pytest.LogCaptureFixture) -> None:
    line = Line([httpx.Response(429, headers={"Retry-After": "3600"})])
    with pytest.raises(Unavailable, match="psp answered 429"):
        await line.pages()
    assert (len(line.asked), line.slept, caplog.records) == (1, [], [])


async def test_one_that_never_answers_is_left_after_some_tries() -> None:
    line = Line([httpx.Response(500)])
    with pytest.raises(Unavailable, match="psp answered 500"):
        await line.pages()
    assert len(line.asked) == MOST_TRIES
    assert len(line.slept) == MOST_TRIES - 1


async def test_an_open_breaker_is_waited_for() -> None:
    line = Line([httpx.Response(500), httpx.Response(500), page()])
    assert await line.pages(breaker=Breaker(2, timedelta(seconds=30))) == 1
    assert line.slept[1] <= 2
    assert 27 <= line.slept[2] <= 31
    assert len(line.asked) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 302])
async def test_one_that_refuses_is_not_asked_again(status: int) -> None:
    line = Line([httpx.Response(status)])
    with pytest.raises(Rejected, match=f"psp answered {status}"):
        await line.pages()
    assert len(line.asked) == 1


@pytest.mark.parametrize("body", [b"<html>", b"", b"[]", b"x" * (LARGEST_PAGE + 1)])
async def test_an_answer_that_is_no_list_ends_it(body: bytes) -> None:
    with pytest.raises(Rejected, match="cannot be read as a list of payments"):
        await Line([httpx.Response(200, content=body)]).pages()


class Stumbling(Pages):
    """A provider that nobody has thought of everything for."""

    def search(self, source: Source, since: datetime, until: datetime, page: str | None) -> Question:
        """A page; behind the last day of the calendar there is none."""
        begin = since if page is None else datetime.fromisoformat(page)
        return super().search(source, begin, begin + (until - since), page)

    def found(self, source: Source, answered: Answered) -> PaidPage | None:
        """What is on it; a list is no key."""
        del source
        return PaidPage((), next_page={"end": "9999-12-31T23:59:59"}[answered.json["next"]])


@pytest.mark.parametrize("said", ["[]", '{"next": []}', '{"next": "end"}'])
async def test_an_answer_that_a_provider_stumbles_over_ends_it_as_one_that_is_no_list(said: str) -> None:
    line = Line([httpx.Response(200, content=said.encode())])
    with pytest.raises(Rejected, match="cannot be read as a list of payments"):
        await line.pages(payments=Stumbling())


async def test_a_list_that_comes_round_again_has_no_end() -> None:
    line = Line([page("2")])
    with pytest.raises(Rejected, match="has no end"):
        await line.pages()
    assert line.asked == ["page=1", "page=2"]


async def test_what_comes_before_each_question_can_end_it() -> None:
    times = 0

    async def before() -> None:
        nonlocal times
        times += 1
        if times == 3:
            raise Unavailable("another one does it")

    line = Line([page("2"), page("3"), page("4")])
    with pytest.raises(Unavailable, match="another one"):
        await line.pages(before)
    assert len(line.asked) == 2
