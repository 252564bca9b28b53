"""Questions that a provider wants asked: through the agent's gate, within its timeout, with answers that may be long."""

import asyncio
import json
from datetime import timedelta

import pytest

from app.agents import SlotUnavailable, Unavailable
from app.agents.answer import LARGEST_RESULT, NoReply, Reply
from app.providers.refunds import Question
from app.settings import Breaker
from tests.agents.calling import agents_of, never_reads
from tests.agents.support import agents_with, answer, listening, says, scripted
from tests.builders import FixedClock

ASK = Question("POST", "/search?a=b%2Fc", {"Content-Type": "application/x-www-form-urlencoded"}, b"page=2")


async def test_a_question_goes_out_as_its_provider_wants_it() -> None:
    async with scripted(says(answer(200, b"{}"))) as agent, agents_of(f"{agent.url}/v1") as agents:
        came = await agents.inquire("supplier", ASK, wait=1)
    assert isinstance(came, Reply)
    [received] = agent.received
    assert (received.method, received.target, received.body) == ("POST", "/v1/search?a=b%2Fc", b"page=2")
    assert received.headers["content-type"] == "application/x-www-form-urlencoded"
    assert "idempotency-key" not in received.headers


async def test_a_long_answer_is_read_where_it_is_wanted() -> None:
    body = json.dumps(["x" * 100] * 30_000).encode()  # some 3 MB
    async with scripted(says(answer(200, body))) as agent, agents_of(agent.url) as agents:
        long = await agents.inquire("supplier", ASK, wait=1, largest=len(body))
        short = await agents.inquire("supplier", ASK, wait=1)
        cut = await agents.inquire("supplier", ASK, wait=1, largest=len(body) - 1)
    assert isinstance(long, Reply)
    assert len(long.json) == 30_000
    for came in (short, cut):
        assert isinstance(came, Reply)
        assert not came.is_json
    assert len(body) > LARGEST_RESULT


async def test_an_agent_that_does_not_answer_opens_its_breaker() -> None:
    clock = FixedClock()
    async with listening(never_reads) as url:
        agents = agents_with(
            url, clock=clock, timeout=timedelta(seconds=0.1), breaker=Breaker(2, timedelta(seconds=30))
        )
        came = [await agents.inquire("supplier", ASK, wait=1) for _ in range(2)]
        with pytest.raises(SlotUnavailable, match="breaker"):
            await agents.inquire("supplier", ASK, wait=1)
        await agents.aclose()
    assert [isinstance(one, NoReply) for one in came] == [True, True]


@pytest.mark.parametrize(("status", "opens"), [(200, False), (404, False), (429, True), (500, True)])
async def test_what_counts_for_the_breaker_is_as_for_any_call(status: int, opens: bool) -> None:
    clock = FixedClock()
    async with scripted(says(answer(status))) as agent:
        agents = agents_with(agent.url, clock=clock, breaker=Breaker(1, timedelta(seconds=30)))
        await agents.inquire("supplier", ASK, wait=1)
        assert (agents.gate("supplier").opens_at(clock.now()) is not None) is opens
        await agents.aclose()


async def test_a_slot_is_waited_for_no_longer_than_told() -> None:
    async with listening(never_reads) as url, agents_of(url, max_concurrency=1) as agents:
        first = asyncio.create_task(agents.inquire("supplier", ASK, wait=1))
        await asyncio.sleep(0)
        with pytest.raises(SlotUnavailable, match="no slot"):
            await agents.inquire("supplier", ASK, wait=0.01)
        first.cancel()
        await asyncio.wait({first})


async def test_an_agent_that_is_not_configured_cannot_be_asked() -> None:
    agents = agents_with()
    with pytest.raises(Unavailable, match="no agent named bank"):
        await agents.inquire("bank", ASK, wait=1)
    await agents.aclose()
