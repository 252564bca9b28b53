"""What a call is made ready with: a saga that is known, agents with a real gate."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, cast

from app.agents.breaker import CircuitBreaker
from app.agents.gate import Gate
from app.saga.definition import Saga, hash_of
from app.saga.model import Json
from app.saga.retry import taken
from app.worker.ahead import Prepared, make_ready
from app.worker.execution import Execution, Parts
from tests.builders import NOW, FixedClock, operation_for, purchase_saga
from tests.worker.stage import LEASE, REQUEST, SaidAgents, SaidStore, claimed, execution_of

OPEN = timedelta(seconds=30)


class SaidSagas:
    """Sagas of which a process has met these."""

    def __init__(self, *sagas: Saga) -> None:
        self._sagas = {hash_of(saga): saga for saga in sagas}

    def known(self, saga_hash: str) -> Saga | None:
        """One of them."""
        return self._sagas.get(saga_hash)


class GatedAgents(SaidAgents):
    """Agents with a real gate; `wrong`: what rendering raises."""

    def __init__(self, clock: FixedClock, slots: int = 2, wrong: Exception | None = None) -> None:
        super().__init__()
        self.one_gate = Gate("supplier", slots, CircuitBreaker(1, OPEN), clock)
        self.documents: list[dict[str, Any]] = []
        self.traces: list[object] = []
        self.wrong = wrong

    def render(self, *how: object) -> Any:
        """The request, or what is wrong."""
        self.documents.append(cast("dict[str, Any]", how[1]))
        self.traces.append(how[2])
        if self.wrong is not None:
            raise self.wrong
        return REQUEST

    def gate(self, _agent: str) -> Any:
        """The one gate."""
        return self.one_gate


@dataclass
class Bench:
    """What a call is made ready with."""

    clock: FixedClock = field(default_factory=FixedClock)
    saga: Saga = field(default_factory=purchase_saga)
    slots: int = 2

    def __post_init__(self) -> None:
        self.agents = GatedAgents(self.clock, self.slots)
        self.parts: Parts = replace(
            execution_of(Execution, SaidStore(), self.agents, self.clock, claimed()).parts,
            sagas=cast("Any", SaidSagas(self.saga)),
        )
        self.one = taken(operation_for(saga=self.saga), "worker-1", NOW, NOW + LEASE)

    def ready(self, event: Callable[[], Json] = lambda: {"type": "payment.received"}) -> Prepared | None:
        """The call, ready."""
        return make_ready(self.parts, self.one, event)

    @property
    def free(self) -> int:
        """How many slots are free."""
        taken = []
        while (slot := self.agents.one_gate.slot_now()) is not None:
            taken.append(slot)
        for slot in taken:
            slot.release()
        return len(taken)
