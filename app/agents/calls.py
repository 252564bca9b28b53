"""The agents of the configuration, and one call to one of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import httpx

from app.agents.answer import LARGEST_RESULT, NoReply, Reply, StepAnswer, lookup_answer, no_answer, step_answer, unclear
from app.agents.breaker import CircuitBreaker
from app.agents.gate import Gate
from app.agents.http import Borrowed, Transport, attempt
from app.agents.oauth import Authorized
from app.agents.questions import LARGEST_ANSWERED, Read, outcome_of, unclear_question, without_secrets
from app.agents.redact import Redactor
from app.agents.request import Endpoint, Request, next_traceparent, render, render_question, request_of
from app.agents.transport import Connections
from app.clock import Clock
from app.errors import Unavailable
from app.providers.refunds import Answered, Question
from app.saga import Sending
from app.saga.compensate import nothing_there
from app.saga.definition import Lookup
from app.saga.model import Action, Json, LastError, Outcome
from app.saga.signals import Answer, StepDone, StepRejected, StepUnavailable, StepUnknown
from app.settings import Agent


@dataclass(slots=True)  # frozen, it would cost three times as much to make
class Exchange:
    """How one call ended. It is not changed once it is made.

    Args:
        answer: what it says of the step.
        response: `{"status", "body"}` as it is put on record, without credentials and cut to what is kept; it can be
            stored in a json column when what is not ASCII is escaped. None where nothing came.
        outcome: how the sending itself ended.
        sent_at: when it went out, at the latest: after it was put on record, when there was a connection; None where it
            did not.
    """

    answer: Answer
    response: dict[str, Json] | None
    outcome: Outcome
    sent_at: datetime | None = field(default=None, compare=False)


class Agents:
    """All agents: their gates, and the calls to them.

    Args:
        agents: by their names.
        clock: the time of answers, for Retry-After and the breakers.
        transport: for all agents, instead of a pool of connections for each.
    """

    def __init__(
        self, agents: Mapping[str, Agent], clock: Clock, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._clock = clock
        self._endpoints = {name: Endpoint(agent) for name, agent in agents.items()}
        self._transports: dict[str, Transport] = {
            name: _transport(self._endpoints[name], agent, clock, transport) for name, agent in agents.items()
        }
        self._timeouts = {name: agent.timeout.total_seconds() for name, agent in agents.items()}
        self._gates = {name: _gate(agent, clock) for name, agent in agents.items()}

    def render(self, sending: Sending, document: dict[str, Json], traceparent: str | None) -> Request:
        """The request of a sending.

        Args:
            document: the call's document.
            traceparent: the operation's, if it has one.

        Raises:
            RequestRefused: it cannot be made from the document and must never be sent; it counts as rejected.
            TypeError: the sending is of a local step.
        """
        agent = getattr(sending.call, "agent", "")
        endpoint = self._endpoints.get(agent) or Endpoint(Agent(agent, ""))
        return render(endpoint, sending, document, traceparent)

    def gate(self, agent: str) -> Gate:
        """The breaker and the slots of an agent; for one that is not configured a gate that stands open."""
        return self._gates.get(agent) or _gate(Agent(agent, ""), self._clock)

    async def call(self, request: Request, sending: Sending) -> Exchange:
        """Sends a request, once, within the sending's timeout; however the network fails, it says how it ended.

        The agent's breaker hears of it. The caller holds a slot of the agent's gate. Cancelled, it raises
        CancelledError, and the call's outcome is unknown.
        """
        return await self._exchange(request, sending, None)

    def render_question(self, agent: str, question: Question, sending: Sending, traceparent: str | None) -> Request:
        """The request of what a provider wants asked of an agent. Arguments and errors as `render`."""
        endpoint = self._endpoints.get(agent) or Endpoint(Agent(agent, ""))
        trace = next_traceparent(traceparent, sending.operation.id)
        return render_question(endpoint, question, sending.attempt, trace)

    async def ask(self, request: Request, sending: Sending, read: Read) -> Exchange:
        """As `call`, for what a provider wants asked: the provider reads the answer."""
        return await self._exchange(request, sending, read)

    async def _exchange(self, request: Request, sending: Sending, read: Read | None) -> Exchange:
        endpoint = self._endpoints.get(request.agent)
        if endpoint is None:
            return _not_configured(request.agent, sending)
        largest = LARGEST_RESULT if read is None else LARGEST_ANSWERED
        came = await attempt(self._transports[request.agent], request, sending.timeout.total_seconds(), largest)
        now = self._clock.now()
        response = _recorded(came, endpoint.redactor)
        if isinstance(came, Reply):
            excerpt = "" if came.succeeded or not response else endpoint.redactor.excerpt(response["body"])
            answer: StepAnswer = step_answer(came, now, excerpt)
        else:
            answer = no_answer(came)
        gate = self._gates[request.agent]
        if isinstance(answer, StepDone | StepRejected):
            gate.answered()
        else:
            gate.failed(now)
        sent_at = now - timedelta(seconds=came.since_sent) if isinstance(came, Reply) or came.sent else None
        if read is not None:
            if isinstance(came, Reply):
                meaning = without_secrets(read(Answered(came.status, came.headers or {}, came.json), answer), endpoint)
            else:
                meaning = unclear_question(sending, answer)
            return Exchange(meaning, response, outcome_of(meaning), sent_at)
        return Exchange(_meaning(sending, came, answer), response, _outcome(sending, answer), sent_at)

    async def inquire(
        self, agent: str, question: Question, *, wait: float, largest: int = LARGEST_RESULT
    ) -> Reply | NoReply:
        """Asks an agent something that changes nothing there, once, through its gate and within its timeout.

        Args:
            wait: seconds to wait for a slot.
            largest: bytes of an answer that is read as JSON.

        Raises:
            SlotUnavailable: its breaker is open, or no slot became free.
            Unavailable: it is not configured.
            RequestRefused: the question makes no request.
        """
        if agent not in self._endpoints:
            raise Unavailable(f"not configured: there is no agent named {agent}")
        gate, request = self._gates[agent], request_of(self._endpoints[agent], question)
        with await gate.slot(wait):
            came = await attempt(self._transports[agent], request, self._timeouts[agent], largest)
        now = self._clock.now()
        if isinstance(came, Reply) and isinstance(step_answer(came, now, ""), StepDone | StepRejected):
            gate.answered()
        else:
            gate.failed(now)
        return came

    async def aclose(self) -> None:
        """Closes all connections."""
        for transport in self._transports.values():
            await transport.aclose()


def _transport(endpoint: Endpoint, agent: Agent, clock: Clock, borrowed: httpx.AsyncBaseTransport | None) -> Transport:
    transport = Borrowed(borrowed) if borrowed else Connections(endpoint.origin, agent.max_concurrency)
    return Authorized(transport, endpoint, agent.oauth, agent.timeout, clock) if agent.oauth else transport


def _gate(agent: Agent, clock: Clock) -> Gate:
    breaker = CircuitBreaker(agent.breaker.failures, agent.breaker.open)
    return Gate(agent.name, agent.max_concurrency, breaker, clock)


def _meaning(sending: Sending, came: Reply | NoReply, answer: StepAnswer) -> Answer:
    if not isinstance(sending.call, Lookup):
        return answer
    if isinstance(came, Reply):
        return lookup_answer(sending.call, came, answer)
    return answer if isinstance(answer, StepDone) else unclear(answer)


def _outcome(sending: Sending, answer: StepAnswer) -> Outcome:
    match answer:
        case StepDone():
            return Outcome.DONE
        case StepRejected():
            state = sending.operation.state_of(sending.step)
            settled = sending.action is Action.UNDO and nothing_there(state, answer)
            return Outcome.DONE if settled else Outcome.REJECTED
        case StepUnavailable():
            return Outcome.UNAVAILABLE
        case StepUnknown():
            return Outcome.UNKNOWN


def _recorded(came: Reply | NoReply, redactor: Redactor) -> dict[str, Any] | None:
    if came.status is None:
        return None
    if isinstance(came, Reply) and came.is_json:
        return {"status": came.status, "body": redactor.body(came.json, came.body)}
    return {"status": came.status, "body": redactor.body_text(came.body)}


def _not_configured(agent: str, sending: Sending) -> Exchange:
    error = LastError(Outcome.UNAVAILABLE, f"not configured: there is no agent named {agent}")
    answer = StepUnavailable(error, arrived=False)
    meaning = unclear(answer) if sending.action is Action.LOOKUP else answer
    return Exchange(meaning, None, Outcome.UNAVAILABLE)
