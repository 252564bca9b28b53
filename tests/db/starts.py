"""Starts of new operations that remember what they are told."""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from app.db.ingest import Arrival
from app.db.operations import Begun
from app.saga import Sending, prepare
from app.saga.model import Operation
from app.saga.retry import taken
from tests.builders import NOW, arrival_of, purchase_saga
from tests.db.claims import LEASE, start_of

CLAIMED_AT = NOW + timedelta(milliseconds=3)


@dataclass
class SaidStart:
    """The start of an operation that remembers what it is told."""

    begun: Begun
    told: list[bool] = field(default_factory=list)

    def landed(self, *, accepted: bool) -> None:
        """Told."""
        self.told.append(accepted)


def begun_of(operation: Operation) -> Begun:
    """Its first call, made ready under the lease of worker-1."""
    sending = prepare(purchase_saga(), taken(operation, "worker-1", CLAIMED_AT, CLAIMED_AT + LEASE), CLAIMED_AT)
    assert isinstance(sending, Sending)
    return Begun(sending.operation, replace(start_of(sending, sending.operation), at=CLAIMED_AT))


def started(operation: Operation, **changes: Any) -> tuple[Arrival, SaidStart]:
    """A delivery whose operation is taken as it is stored."""
    arrival = arrival_of(operation, **changes)
    assert arrival.operation is not None
    start = SaidStart(begun_of(arrival.operation))
    return replace(arrival, start=start), start
