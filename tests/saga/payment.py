"""One operation under random rules: its agents, the clock, and how what happens reaches the machine."""

from datetime import datetime
from typing import Literal

from hypothesis.stateful import RuleBasedStateMachine

from app.errors import NotAllowed
from app.saga import Sending, advance
from app.saga.definition import Limits, Saga
from app.saga.model import Action, Operation, Phase, Transition
from app.saga.signals import (
    Answer,
    Signal,
)
from tests.saga.agents import Agents, Message
from tests.saga.stage import (
    absent,
    found,
)

Fate = Literal["lost", "reached", "under way"]


class Payment(RuleBasedStateMachine):
    """One operation and its agents at one time; the rules of what may happen to it are elsewhere."""

    saga: Saga
    operation: Operation
    agents: Agents
    now: datetime
    sending: Sending | None

    @property
    def limits(self) -> Limits:
        return self.saga.limits["psp"]

    def call_out(self) -> Sending:
        assert self.sending is not None
        return self.sending

    def message(self, sending: Sending, *, busy: bool = False) -> Message:
        sent = sending.operation.last_run_at
        assert sent is not None
        return Message(self.saga.index(sending.step), sending.action, sent + self.limits.in_flight, busy)

    def arrival(self, sending: Sending) -> tuple[Agents, Answer]:
        """What comes of a call when it arrives and is answered."""
        place, sent = self.saga.index(sending.step), sending.operation.last_run_at
        assert sent is not None
        if sending.action is Action.LOOKUP:
            return self.agents, found() if self.agents.books[place].live else absent()
        return self.agents.arrive(place, sending.action, sent, self.limits)

    def happen(self, sending: Sending, fate: Fate) -> Answer:
        """A call meets its fate; returns what would be answered if it arrived."""
        reached, answer = self.arrival(sending)
        if fate == "reached":
            self.agents = reached
        elif fate == "under way":
            self.agents = self.agents.sent(self.message(sending)).at(self.now)
        return answer

    def pass_to(self, time: datetime) -> None:
        self.now = max(self.now, time)
        self.agents = self.agents.at(self.now)

    def tell(self, signal: Signal, jitter: float = 1.0) -> None:
        """Something happens; what is not allowed changes nothing."""
        try:
            transition = advance(self.saga, self.operation, signal, self.now, jitter)
        except NotAllowed:
            return
        if transition is not None:
            self.land(transition)

    def land(self, transition: Transition) -> None:
        before, after = transition.before, transition.after
        assert before is self.operation
        assert after.revision == before.revision + 1
        assert (before.phase, after.phase) != (Phase.REFUND, Phase.PURCHASE), "there is no way back"
        self.operation = after
