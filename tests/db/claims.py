"""Operations under a claim, for the tests of the door."""

from datetime import timedelta
from uuid import uuid4

from app.db.claim import Claim
from app.db.journal import AttemptStart
from app.db.store import Store
from app.saga import Sending, advance, prepare
from app.saga.model import Action, Operation, Transition
from app.saga.signals import StepDone
from tests.builders import NOW, arrival_of, operation_for, purchase_saga

LEASE = timedelta(seconds=30)


def claim_of(most: int = 10, worker: str = "worker-1") -> Claim:
    return Claim(uuid4(), 0, most, worker, NOW, NOW + LEASE)


async def claimed(store: Store, external_id: str = "pay_1") -> Operation:
    """A stored operation under a claim of worker-1."""
    await store.ingest(arrival_of(operation_for(external_id)))
    [one] = await store.claim(claim_of())
    return one.operation


async def begun(store: Store, operation: Operation) -> Operation:
    """The operation with its first call on record."""
    sending = prepare(purchase_saga(), operation, NOW)
    assert isinstance(sending, Sending)
    assert await store.begin(sending.operation, start_of(sending, operation))
    return sending.operation


def start_of(sending: Sending, operation: Operation) -> AttemptStart:
    request = {"method": "POST", "url": "http://supplier/purchases", "body": None}
    action, attempt = sending.action, sending.attempt
    return AttemptStart(
        operation.id, operation.lease, sending.step, action, attempt, sending.key, "worker-1", request, NOW
    )


def done(operation: Operation) -> Transition:
    transition = advance(purchase_saga(), operation, StepDone({"ref": "A"}), NOW, 0.5)
    assert transition is not None
    return transition


def start_for(operation: Operation) -> AttemptStart:
    return AttemptStart(operation.id, operation.lease, "purchase", Action.DO, 1, "key", "worker-1", {}, NOW)
