"""One call to an agent: what is recorded of it, what the breaker hears, and what a lookup or an undo makes of it."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from app.agents import Agents, Exchange
from app.db.rows import storable_json
from app.saga import Sending
from app.saga.model import NO_SENDINGS, Action, Outcome, Sendings
from app.saga.signals import Found, LookupAnswered, StepDone, StepRejected, StepUnavailable, StepUnknown
from app.settings import Breaker
from tests.agents.support import ASK, BUY, agents_with, document_of, sending_of
from tests.builders import NOW, FixedClock

Handler = Callable[[httpx.Request], httpx.Response]


def answering(*responses: httpx.Response | Exception) -> httpx.MockTransport:
    """A transport that gives these answers, the last one for ever."""
    left = list(responses)

    def handle(request: httpx.Request) -> httpx.Response:
        del request
        response = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(response, Exception):
            raise response
        return httpx.Response(response.status_code, headers=response.headers, content=response.content)

    return httpx.MockTransport(handle)


async def call(agents: Agents, sending: Sending | None = None, event: Any = None) -> Exchange:
    sending = sending or sending_of()
    return await agents.call(agents.render(sending, document_of(sending, event), None), sending)


async def test_an_answer_is_recorded_as_json_where_it_is_json_and_else_as_text() -> None:
    agents = agents_with(transport=answering(httpx.Response(200, json={"a": [1]}), httpx.Response(502, text="<b>")))
    done, unknown = await call(agents), await call(agents)
    assert done == Exchange(StepDone({"a": [1]}), {"status": 200, "body": {"a": [1]}}, Outcome.DONE)
    assert unknown.response == {"status": 502, "body": "<b>"}
    assert isinstance(unknown.answer, StepUnknown)
    assert unknown.answer.error.detail == "answered 502 Bad Gateway: <b>"


async def test_an_empty_answer_is_recorded_as_null() -> None:
    exchange = await call(agents_with(transport=answering(httpx.Response(204))))
    assert exchange == Exchange(StepDone(None), {"status": 204, "body": None}, Outcome.DONE)


async def test_what_the_agent_echoes_of_our_credentials_is_neither_recorded_nor_told() -> None:
    body = {"error": "bad token s3cr3t-token", "request": {"Authorization": "Bearer s3cr3t-token"}}
    agents = agents_with(
        headers={"Authorization": "Bearer s3cr3t-token"}, transport=answering(httpx.Response(401, json=body))
    )
    exchange = await call(agents)
    assert "s3cr3t" not in repr(exchange)
    assert exchange.response is not None
    assert exchange.response["body"]["request"] == {"Authorization": "[redacted]"}
    assert isinstance(exchange.answer, StepRejected)
    assert exchange.answer.error.detail.startswith("refused: 401 Unauthorized: ")


async def test_the_result_itself_is_kept_as_it_is() -> None:
    exchange = await call(agents_with(transport=answering(httpx.Response(200, json={"token": "t-1"}))))
    assert exchange.answer == StepDone({"token": "t-1"})
    assert exchange.response == {"status": 200, "body": {"token": "[redacted]"}}


async def test_a_response_of_any_bytes_can_be_stored() -> None:
    for content in (b'{"a": "\\u0000\\ud800"}', b"\x00\xff\xfe", b"\xed\xa0\x80", bytes(range(256)) * 300):
        exchange = await call(agents_with(transport=answering(httpx.Response(422, content=content))))
        assert json.loads(storable_json(exchange.response))["status"] == 422
        assert isinstance(exchange.answer, StepRejected)
        exchange.answer.error.detail.encode()
        assert "\x00" not in exchange.answer.error.detail


async def test_retry_after_is_counted_from_the_answer() -> None:
    agents = agents_with(transport=answering(httpx.Response(503, headers={"retry-after": "90"})))
    exchange = await call(agents)
    assert isinstance(exchange.answer, StepUnavailable)
    assert exchange.answer.retry_at == NOW + timedelta(seconds=90)
    assert exchange.outcome is Outcome.UNAVAILABLE


async def test_a_packed_answer_is_not_unpacked() -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        assert request.headers["accept-encoding"] == "identity"
        return httpx.Response(200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(b"\x1f\x8b{}"))

    assert (await call(agents_with(transport=httpx.MockTransport(handle)))).answer == StepDone(None)


async def test_an_agent_that_is_not_configured_any_more_is_unavailable() -> None:
    agents = Agents({}, FixedClock(), answering(httpx.Response(200)))
    exchange = await call(agents)
    assert isinstance(exchange.answer, StepUnavailable)
    assert not exchange.answer.arrived
    assert exchange.answer.error.detail == "not configured: there is no agent named supplier"
    asked = await call(agents, sending_of(ASK))
    assert isinstance(asked.answer, LookupAnswered)
    assert asked.answer.found is Found.UNCLEAR
    with await agents.gate("supplier").slot(0):
        assert agents.gate("supplier").opens_at(NOW) is None


# --- lookups ---


@pytest.mark.parametrize(
    ("response", "found", "outcome"),
    [
        (httpx.Response(200, json={"status": "confirmed"}), Found.DONE, Outcome.DONE),
        (httpx.Response(200, json={"status": "open"}), Found.ABSENT, Outcome.DONE),
        (httpx.Response(404), Found.ABSENT, Outcome.REJECTED),
        (httpx.Response(403), Found.UNCLEAR, Outcome.REJECTED),
        (httpx.Response(429), Found.UNCLEAR, Outcome.UNAVAILABLE),
        (httpx.Response(500), Found.UNCLEAR, Outcome.UNKNOWN),
        (httpx.ConnectError("no"), Found.UNCLEAR, Outcome.UNAVAILABLE),
        (httpx.ReadTimeout("no"), Found.UNCLEAR, Outcome.UNKNOWN),
    ],
)
async def test_a_lookup_is_answered_as_a_lookup(
    response: httpx.Response | Exception, found: Found, outcome: Outcome
) -> None:
    exchange = await call(agents_with(transport=answering(response)), sending_of(ASK))
    assert isinstance(exchange.answer, LookupAnswered)
    assert exchange.answer.found is found
    assert (exchange.answer.error is not None) == (found is Found.UNCLEAR)
    assert exchange.outcome is outcome


# --- undos ---

ONE_UNKNOWN = Sendings(count=2, unknown=1)


@pytest.mark.parametrize("status", [404, 410])
@pytest.mark.parametrize(
    ("did", "undo", "outcome"),
    [
        (False, NO_SENDINGS, Outcome.DONE),
        (True, ONE_UNKNOWN, Outcome.DONE),
        (True, NO_SENDINGS, Outcome.REJECTED),
    ],
)
async def test_nothing_there_to_undo_counts_as_done_by_the_table(
    status: int, did: bool, undo: Sendings, outcome: Outcome
) -> None:
    agents = agents_with(transport=answering(httpx.Response(status)))
    exchange = await call(agents, sending_of(BUY, Action.UNDO, did=did, undo=undo))
    assert exchange.outcome is outcome
    assert isinstance(exchange.answer, StepRejected), "what follows from it is decided by the machine"


async def test_a_404_to_a_do_is_a_refusal() -> None:
    exchange = await call(agents_with(transport=answering(httpx.Response(404))))
    assert exchange.outcome is Outcome.REJECTED


# --- the breaker ---

BREAKER = Breaker(failures=3, open=timedelta(seconds=30))
FAILURES = [httpx.Response(500), httpx.Response(429), httpx.ConnectError("no"), httpx.ReadError("no")]


@pytest.mark.parametrize("failure", FAILURES, ids=repr)
async def test_unavailable_and_unknown_in_a_row_open_the_breaker(failure: httpx.Response | Exception) -> None:
    """Trap 29: an outage of an agent would use up the attempts of every operation that needs it."""
    agents = agents_with(transport=answering(failure), breaker=BREAKER)
    for _ in range(3):
        assert agents.gate("supplier").opens_at(NOW) is None
        await call(agents)
    assert agents.gate("supplier").opens_at(NOW) == NOW + BREAKER.open


@pytest.mark.parametrize("answer", [httpx.Response(200), httpx.Response(422), httpx.Response(404)], ids=repr)
async def test_an_answer_in_between_keeps_it_closed_and_a_refusal_is_one(answer: httpx.Response) -> None:
    bad = httpx.Response(500)
    agents = agents_with(transport=answering(bad, bad, answer, bad, bad, answer), breaker=BREAKER)
    for _ in range(6):
        await call(agents)
    assert agents.gate("supplier").opens_at(NOW) is None


async def test_a_lookup_counts_by_its_own_answer() -> None:
    refused = agents_with(transport=answering(httpx.Response(404)), breaker=BREAKER)
    failing = agents_with(transport=answering(httpx.Response(500)), breaker=BREAKER)
    for agents in (refused, failing):
        for _ in range(3):
            await call(agents, sending_of(ASK))
    assert refused.gate("supplier").opens_at(NOW) is None
    assert failing.gate("supplier").opens_at(NOW) is not None


async def test_a_probe_that_is_answered_closes_the_breaker() -> None:
    clock = FixedClock()
    bad = httpx.Response(500)
    agents = agents_with(transport=answering(bad, bad, bad, httpx.Response(200)), breaker=BREAKER, clock=clock)
    for _ in range(3):
        await call(agents)
    clock.advance(BREAKER.open)
    gate = agents.gate("supplier")
    with await gate.slot(0):
        assert gate.opens_at(clock.now()) is not None, "one probe is out"
        await call(agents)
    assert gate.opens_at(clock.now()) is None
