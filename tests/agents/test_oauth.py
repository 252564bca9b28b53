"""Access tokens: when one is fetched, what a call without one ends as, and that none is ever kept or shown."""

import asyncio
import base64
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from app.agents import Agents
from app.agents.answer import Reply
from app.providers.refunds import Question
from app.saga.signals import StepDone, StepRejected
from app.settings import OAuth
from tests.agents.calling import call, not_sent, unknown
from tests.agents.support import Received, Script, agents_with, answer, listening, scripted
from tests.builders import FixedClock

SECRET = "s3cret/of+the shop"
OAUTH = OAuth("/oauth/token", "shop id", SECRET)


@dataclass
class Bank:
    """An agent that wants a token which it has given out itself.

    Args:
        says: what the token endpoint answers next, instead of a token.
        refuses: tokens that are refused.
        lasts: seconds.
    """

    says: list[bytes] = field(default_factory=list)
    refuses: set[str] = field(default_factory=set)
    lasts: object = 3600
    asked: list[Received] = field(default_factory=list)
    called: list[Received] = field(default_factory=list)
    held: asyncio.Event | None = None

    async def script(self, agent: Any, request: Received, reader: Any, writer: asyncio.StreamWriter) -> None:
        del agent, reader
        if request.target.endswith("/oauth/token"):
            self.asked.append(request)
            if self.held is not None:
                await self.held.wait()
            writer.write(self.says.pop(0) if self.says else answer(200, self.token()))
            return
        self.called.append(request)
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token in self.refuses:
            writer.write(answer(401, json.dumps({"error": f"{token} has ended"}).encode()))
        else:
            writer.write(answer(200, json.dumps({"ref": "R-1", "echo": token}).encode()))

    def token(self) -> bytes:
        said = {"access_token": f"tok-number-{len(self.asked)}", "token_type": "Bearer", "expires_in": self.lasts}
        return json.dumps({name: value for name, value in said.items() if value is not None}).encode()

    @property
    def tokens(self) -> list[str]:
        """What the calls were sent with."""
        return [request.headers["authorization"] for request in self.called]


@contextlib.asynccontextmanager
async def shop(bank: Bank, clock: FixedClock | None = None, **settings: Any) -> AsyncIterator[Agents]:
    script: Script = bank.script
    async with scripted(script) as agent:
        agents = agents_with(f"{agent.url}/api", clock=clock, oauth=OAUTH, **settings)
        try:
            yield agents
        finally:
            await agents.aclose()


async def test_a_call_is_sent_with_a_token_that_is_asked_for_as_the_rfc_says() -> None:
    bank = Bank()
    async with shop(bank, headers={"X-Tenant": "7"}) as agents:
        assert isinstance((await call(agents)).answer, StepDone)
    [asked] = bank.asked
    assert (asked.method, asked.target) == ("POST", "/api/oauth/token")
    assert asked.body == b"grant_type=client_credentials"
    assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
    credentials = base64.b64decode(asked.headers["authorization"].removeprefix("Basic ")).decode()
    assert credentials == "shop+id:s3cret%2Fof%2Bthe+shop"
    assert bank.tokens == ["Bearer tok-number-1"]
    assert bank.called[0].headers["x-tenant"] == "7"
    assert bank.called[0].headers["content-type"] == "application/json"


async def test_calls_that_wait_together_have_one_token_fetched() -> None:
    bank = Bank(held=asyncio.Event())
    async with shop(bank) as agents:
        calls = [asyncio.create_task(call(agents)) for _ in range(20)]
        async with asyncio.timeout(10):
            while not bank.asked:
                await asyncio.sleep(0.01)
        assert bank.held is not None
        calls[0].cancel()  # who has gone does not take the token with him
        await asyncio.wait({calls[0]})
        bank.held.set()
        ended = await asyncio.gather(*calls[1:])
    assert all(isinstance(exchange.answer, StepDone) for exchange in ended)
    assert (len(bank.asked), len(bank.called)) == (1, 19)


@pytest.mark.parametrize(
    ("lasts", "kept", "fetched"),
    [
        (3600, 3539, 1),
        (3600, 3541, 2),
        ("3600", 3539, 1),
        (60, 29, 1),
        (60, 31, 2),
        (None, 299, 1),
        (None, 301, 2),
        (-5, 0, 2),
        (10**400, 86_400, 1),
        ([1], 299, 1),
    ],
)
async def test_a_token_is_kept_until_shortly_before_it_ends(lasts: object, kept: int, fetched: int) -> None:
    bank, clock = Bank(lasts=lasts), FixedClock()
    async with shop(bank, clock) as agents:
        await call(agents)
        clock.advance(timedelta(seconds=kept))
        await call(agents)
    assert len(bank.asked) == fetched
    assert bank.tokens[-1] == f"Bearer tok-number-{fetched}"


async def test_after_a_401_the_token_is_fetched_anew_once_and_the_call_sent_again() -> None:
    bank = Bank(refuses={"tok-number-1"})
    async with shop(bank) as agents:
        exchange = await call(agents)
        assert isinstance(exchange.answer, StepDone)
        assert exchange.response == {"status": 200, "body": {"ref": "R-1", "echo": "[redacted]"}}
        assert isinstance((await call(agents)).answer, StepDone)
    assert bank.tokens == ["Bearer tok-number-1", "Bearer tok-number-2", "Bearer tok-number-2"]
    keys = {request.headers["idempotency-key"] for request in bank.called}
    assert len(keys) == 1


async def test_a_second_401_is_the_answer() -> None:
    bank = Bank(refuses={"tok-number-1", "tok-number-2"})
    async with shop(bank) as agents:
        exchange = await call(agents)
    assert isinstance(exchange.answer, StepRejected)
    assert exchange.answer.error.status == 401
    assert "tok-number" not in repr(exchange)
    assert len(bank.called) == len(bank.asked) == 2


@pytest.mark.parametrize(
    ("said", "detail"),
    [
        (answer(401, b'{"error":"invalid_client"}'), "not sent: no access token: 401 invalid_client"),
        (answer(400, b'{"error":"you sent s3cret"}'), "not sent: no access token: 400"),
        (answer(400, b'{"error":{"code":1}}'), "not sent: no access token: 400"),
        (answer(500), "not sent: no access token: 500"),
        (answer(302, b"", "Location: http://127.0.0.1:1/"), "not sent: no access token: 302"),
        (answer(200, b"<html>"), "not sent: no access token: the answer holds none that can be borne"),
        (answer(200, b'{"access_token":"a b"}'), "not sent: no access token: the answer holds none that can be borne"),
        (answer(200, b'{"access_token":""}'), "not sent: no access token: the answer holds none that can be borne"),
        (
            answer(200, b'{"access_token":"abc","token_type":"mac"}'),
            "not sent: no access token: the answer holds none that can be borne",
        ),
    ],
)
async def test_without_a_token_nothing_is_sent(said: bytes, detail: str) -> None:
    bank = Bank(says=[said])
    async with shop(bank) as agents:
        assert not_sent(await call(agents)) == detail
        assert bank.called == []
        assert isinstance((await call(agents)).answer, StepDone)  # the next call asks again


async def test_a_refused_call_whose_second_token_cannot_be_fetched_is_unavailable() -> None:
    """The first sending was refused with 401, so it did nothing; the second one never went out."""
    bank = Bank(refuses={"tok-number-1"}, says=[])
    async with shop(bank) as agents:
        await call(agents)
        bank.refuses.add("tok-number-2")
        bank.says.append(answer(503))
        assert not_sent(await call(agents)) == "not sent: no access token: 503"


async def test_a_token_endpoint_that_does_not_answer_is_not_waited_for_longer_than_the_call() -> None:
    bank = Bank(held=asyncio.Event())
    async with shop(bank) as agents:
        assert not_sent(await call(agents, timeout=0.2)) == "no connection within 0.2 s"
        assert bank.held is not None
        bank.held.set()


async def test_an_agent_that_is_not_there_gives_no_token() -> None:
    async with listening(lambda _reader, writer: _close(writer)) as url:
        agents = agents_with(url, oauth=OAUTH)
        assert not_sent(await call(agents)).startswith("not sent: no access token: ")
        await agents.aclose()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()


async def test_neither_token_nor_credentials_are_logged_or_kept(caplog: pytest.LogCaptureFixture) -> None:
    """The agent echoes the bare token and the client's secret, under names that say nothing."""
    caplog.set_level(logging.DEBUG)
    bank = Bank()
    async with shop(bank) as agents:
        await call(agents)
        bank.refuses.add("tok-number-1")
        bank.says.append(answer(400, json.dumps({"seen": SECRET}).encode()))
        refused = await call(agents)
        exchange = await call(agents)
    kept = repr([refused, exchange.response]) + caplog.text
    for secret in ("tok-number", SECRET, base64.b64encode(f"shop+id:{SECRET}".encode()).decode()):
        assert secret not in kept


async def test_what_breaks_after_the_token_is_unknown_as_ever() -> None:
    bank = Bank()

    async def script(agent: Any, request: Received, reader: Any, writer: asyncio.StreamWriter) -> None:
        if request.target.endswith("/oauth/token"):
            await bank.script(agent, request, reader, writer)
        else:
            writer.close()

    async with scripted(script) as agent:
        agents = agents_with(agent.url, oauth=OAUTH)
        assert unknown(await call(agents))
        await agents.aclose()


async def test_a_question_has_a_token_too() -> None:
    bank = Bank()
    async with shop(bank) as agents:
        came = await agents.inquire("supplier", Question("GET", "/payments?x=1", {"Accept": "text/x"}), wait=1)
    assert isinstance(came, Reply)
    assert (came.status, came.json["ref"]) == (200, "R-1")
    [called] = bank.called
    assert (called.method, called.target, called.headers["accept"]) == ("GET", "/api/payments?x=1", "text/x")
    assert called.headers["authorization"] == "Bearer tok-number-1"
    assert "content-type" not in called.headers
