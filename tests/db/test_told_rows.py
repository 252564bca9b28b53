"""Batches are told as rows by place, not by name: each value is another here, and is found where it belongs."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from app.db.journal import AttemptEnd, AttemptStart
from app.db.operations import Begun
from app.db.store import Store
from app.saga.model import (
    Action,
    HeldReason,
    LastError,
    Operation,
    Outcome,
    Phase,
    Reason,
    Sendings,
    Status,
    StepState,
    Transition,
)
from tests.builders import NOW, arrival_of, operation_for
from tests.db.claims import LEASE, claim_of, claimed
from tests.db.starts import SaidStart

REQUEST = {"method": "POST", "url": "http://supplier/purchases", "body": {"for": "pay_1"}}
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def after(seconds: int) -> Any:
    return NOW + timedelta(seconds=seconds)


def fresh() -> Operation:
    """A new operation of which no two times, ids or texts are alike."""
    new = operation_for(order_id="order-7", amount=1234, currency="CHF")
    return replace(
        new,
        occurred_at=after(-60),
        traceparent=TRACE,
        created_at=after(-2),
        updated_at=after(-2),
        next_run_at=after(-2),
    )


def call_of(operation: Operation, at: int) -> Begun:
    """A call on its way out, under the lease that the operation has."""
    steps = (operation.steps[0], replace(operation.steps[1], do=Sendings(1, after(at), after(at), out=True)))
    out = replace(operation, steps=steps, last_run_at=after(at))
    start = AttemptStart(
        out.id, out.lease, out.step, Action.DO, out.attempt, f"key-{at}", "worker-1", REQUEST, after(at)
    )
    return Begun(out, start)


def odd_call_of(operation: Operation, at: int) -> Begun:
    """One whose attempt has another number and time than the operation, as none has."""
    begun = call_of(operation, at)
    return replace(begun, start=replace(begun.start, attempt=9, at=after(at + 50)))


async def call_on_record(database: Any, begun: Begun) -> None:
    """The attempt is there just as it was told."""
    start = begun.start
    columns = "lease, step, action, attempt, idempotency_key, worker, request->'body'->>'for', started_at"
    row = await database.fetchrow(f"SELECT {columns} FROM attempts")
    assert tuple(row) == (start.lease, "purchase", "do", start.attempt, start.key, "worker-1", "pay_1", start.at)


async def test_what_arrives(store: Store, database: Any) -> None:
    arrival = arrival_of(fresh(), delivery_id="msg_9")
    await store.ingest(arrival)
    operation = arrival.operation
    assert operation is not None
    assert await store.load(operation.id) == operation
    columns = "id, source, delivery_id, external_id, event_type, operation_serial, received_at, payload"
    row = await database.fetchrow(f"SELECT {columns} FROM events")
    said = ("shop", "msg_9", "pay_1", "payment.received")
    assert tuple(row) == (arrival.id, *said, operation.serial, after(-2), arrival.payload)


async def test_what_arrives_and_is_begun(store: Store, database: Any) -> None:
    arrival = arrival_of(fresh())
    assert arrival.operation is not None
    taken = replace(
        arrival.operation,
        status=Status.PROCESSING,
        attempt=1,
        revision=2,
        lease=1,
        next_run_at=None,
        complete_by=after(30),
        locked_by="worker-1",
        updated_at=after(1),
    )
    begun = call_of(taken, 1)
    await store.ingest(replace(arrival, start=SaidStart(begun)))
    assert await store.load(taken.id) == begun.operation
    assert await database.fetchval("SELECT leased_until FROM operations") == after(30)
    await call_on_record(database, begun)


async def test_what_is_claimed_and_begun(store: Store, database: Any) -> None:
    await store.ingest(arrival_of(fresh()))
    [one] = await store.claim(claim_of(), lambda one: odd_call_of(one.operation, 2))
    begun = odd_call_of(one.operation, 2)
    assert await store.load(one.operation.id) == begun.operation
    assert begun.operation.complete_by == NOW + LEASE
    await call_on_record(database, begun)
    row = await database.fetchrow("SELECT from_phase, from_status, to_phase, to_status FROM history WHERE revision = 2")
    assert tuple(row) == ("purchase", "pending", "purchase", "processing")


async def test_what_is_begun(store: Store, database: Any) -> None:
    begun = odd_call_of(await claimed(store), 3)
    assert await store.begin(begun.operation, begun.start)
    assert await store.load(begun.operation.id) == begun.operation
    await call_on_record(database, begun)


async def test_what_is_decided(store: Store, database: Any) -> None:
    begun = call_of(await claimed(store), 4)
    assert await store.begin(begun.operation, begun.start)
    before = begun.operation
    undone = replace(
        before,
        phase=Phase.REFUND,
        status=Status.ERROR,
        reason=Reason.CANCELLED,
        step="payment",
        action=Action.UNDO,
        attempt=5,
        lease=2,
        next_run_at=after(6),
        complete_by=None,
        locked_by=None,
        deadline=after(77),
        cancel_requested_at=after(7),
        last_error=LastError(kind=Outcome.UNKNOWN, detail="it hung up", status=502),
        steps=(before.steps[0], StepState("purchase", do=Sendings(2, after(4), after(5)))),
        updated_at=after(8),
    )
    move = Transition.of(before, undone, "cancel")
    end = AttemptEnd(before.lease, Outcome.UNKNOWN, {"status": 502, "body": "no"}, after(9))
    assert await store.record(move, actor="operator:ann", note="she asked", attempt=end, at=after(8))
    assert await store.load(before.id) == move.after
    columns = "revision, from_phase, from_status, to_phase, to_status, cause, actor, note, at"
    row = await database.fetchrow(f"SELECT {columns} FROM history WHERE revision = 3")
    said = ("cancel", "operator:ann", "she asked", after(8))
    assert tuple(row) == (3, "purchase", "processing", "refund", "error", *said)
    row = await database.fetchrow("SELECT lease, outcome, response->>'body', finished_at FROM attempts")
    assert tuple(row) == (1, "unknown", "no", after(9))


async def test_what_is_held_and_what_is_over(store: Store) -> None:
    one, two = await claimed(store, "pay_1"), await claimed(store, "pay_2")
    held = replace(one, status=Status.HELD, held_reason=HeldReason.CONTRADICTED)
    over = replace(two, status=Status.SUCCEEDED, finished_at=after(2))
    for before, ended, at in ((one, held, after(1)), (two, over, after(2))):
        move = Transition.of(before, replace(ended, complete_by=None, locked_by=None, updated_at=at), "ended")
        assert await store.record(move, actor="worker-1", at=at)
        assert await store.load(before.id) == move.after
