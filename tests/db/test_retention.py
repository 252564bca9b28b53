"""Retention empties what was kept long enough, and a redelivery stays a duplicate all the same."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from app.db import reads, retention
from app.db.engine import AsyncEngine, connect
from app.db.filters import OperationFilter
from app.db.operator_requests import OperatorReceipt, OperatorRequests
from app.db.refunds import RefundClaim, Told, add_told, take, told_of
from app.db.retention import drop_events, drop_receipts, drop_refund_claims, drop_refunds_told, strip_finished
from app.db.sagas import Sagas
from app.db.stats import stats
from app.db.store import Store
from app.db.tables import EventStatus
from app.saga.model import Status
from app.saga.refund_facts import KnownRefund, RefundStanding
from tests.builders import NOW, FixedClock, arrival_of, operation_for, purchase_saga
from tests.queued import put_in_step

LATER = NOW + timedelta(days=1)
DAY = timedelta(days=1)


@pytest.fixture
async def store(engine: AsyncEngine, database_url: str) -> AsyncIterator[Store]:
    await Sagas(engine, {}).store(purchase_saga())
    store = Store(database_url, 1, FixedClock())
    yield store
    await store.close()


@pytest.fixture
async def own(database_url: str) -> AsyncIterator["asyncpg.Connection[Any]"]:
    connection = await connect(database_url)
    yield connection
    await connection.close()


async def finish(own: "asyncpg.Connection[Any]", external_id: str) -> None:
    """Ends an operation, with a call and an error behind it."""
    serial = await own.fetchval(
        "UPDATE operations SET status = 'refunded', phase = 'refund', reason = 'rejected', next_run_at = NULL,"
        " finished_at = $1, traceparent = 'secret', last_error = $2 WHERE external_id = $3 RETURNING serial",
        *(NOW, '{"kind":"rejected","status":422,"detail":"secret"}', external_id),
    )
    await own.execute(
        "INSERT INTO attempts (bucket, operation_serial, lease, step, action, attempt, worker, request, started_at)"
        " VALUES (0, $1, 1, 'purchase', 'do', 1, 'worker-1', '{\"body\":\"secret\"}', $2)",
        *(serial, NOW),
    )
    await put_in_step(own)


async def test_a_finished_operation_keeps_what_a_redelivery_is_compared_with_and_no_more(
    engine: AsyncEngine, store: Store, own: "asyncpg.Connection[Any]"
) -> None:
    operation = operation_for("pay_1")
    await store.ingest(arrival_of(operation))
    await finish(own, "pay_1")
    assert await strip_finished(engine, LATER) == 1
    found = await reads.operation(engine, operation.id)
    assert found is not None
    kept = ("id", "source", "external_id", "order_id", "amount", "currency", "created_at")
    assert all(getattr(found, name) == getattr(operation, name) for name in kept)
    assert (found.status, found.finished_at) == (Status.REFUNDED, NOW)
    assert (found.steps, found.last_error, found.reason, found.traceparent) == ((), None, None, None)
    assert await reads.attempts(engine, operation.id) == []
    assert await reads.history(engine, operation.id) == []
    assert [event.payload for event in await reads.events(engine, (), None, 9)] == [None]
    assert await strip_finished(engine, LATER) == 0


async def test_redeliveries_after_retention_are_still_duplicates_and_contradictions_conflicts(
    engine: AsyncEngine, store: Store, own: "asyncpg.Connection[Any]"
) -> None:
    operation = operation_for("pay_1")
    await store.ingest(arrival_of(operation))
    await finish(own, "pay_1")
    await strip_finished(engine, LATER)
    again = await store.ingest(arrival_of(operation))
    other = await store.ingest(arrival_of(replace(operation, amount=1), delivery_id="msg_2"))
    assert (again.status, other.status) == (EventStatus.DUPLICATE, EventStatus.CONFLICT)
    assert (await stats(engine, NOW)).difference == 0


async def test_what_is_not_finished_or_not_old_enough_stays_whole(
    engine: AsyncEngine, store: Store, own: "asyncpg.Connection[Any]"
) -> None:
    for name in ("pay_1", "pay_2"):
        await store.ingest(arrival_of(operation_for(name)))
    await finish(own, "pay_2")
    assert await strip_finished(engine, NOW) == 0
    found = await reads.operations(engine, OperationFilter(), 9)
    assert all(operation.steps for operation in found)
    assert await strip_finished(engine, LATER) == 1
    kept = await reads.operation(engine, operation_for("pay_1").id)
    assert kept is not None
    assert kept.steps
    assert await reads.history(engine, kept.id)


async def test_an_operation_that_somebody_holds_is_passed_over(
    engine: AsyncEngine, store: Store, own: "asyncpg.Connection[Any]"
) -> None:
    await store.ingest(arrival_of(operation_for("pay_1")))
    await finish(own, "pay_1")
    async with own.transaction(), asyncio.timeout(5):
        await own.execute("SELECT 1 FROM operations FOR UPDATE")
        assert await strip_finished(engine, LATER) == 0
    assert await strip_finished(engine, LATER) == 1


async def test_batches_are_small_and_go_on_until_nothing_is_left(
    engine: AsyncEngine, store: Store, own: "asyncpg.Connection[Any]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    for number in range(5):
        await store.ingest(arrival_of(operation_for(f"pay_{number}")))
        await finish(own, f"pay_{number}")
    assert [await strip_finished(engine, LATER) for _ in range(4)] == [2, 2, 1, 0]


async def test_only_old_ignored_events_and_old_second_events_are_dropped(
    engine: AsyncEngine, store: Store, own: "asyncpg.Connection[Any]"
) -> None:
    operation = operation_for("pay_1")
    await store.ingest(arrival_of(operation))
    for status in EventStatus:
        if status is not EventStatus.ACCEPTED:
            of = None if status in (EventStatus.IGNORED, EventStatus.UNPROCESSABLE) else operation.serial
            for at in (NOW, LATER):
                await own.execute(
                    "INSERT INTO events (bucket, id, source, deliveries, status, operation_serial, received_at)"
                    " VALUES (0, $1, 'shop', 1, $2, $3, $4)",
                    *(uuid4(), status, of, at),
                )
    assert await drop_events(engine, LATER) == 2
    left = [(event.status, event.received_at) for event in await reads.events(engine, (), None, 20)]
    assert sorted(left) == sorted(
        [
            (EventStatus.ACCEPTED, NOW),
            (EventStatus.CONFLICT, NOW),
            (EventStatus.UNPROCESSABLE, NOW),
            *((status, LATER) for status in EventStatus if status is not EventStatus.ACCEPTED),
        ]
    )
    assert await drop_events(engine, LATER) == 0


async def test_answers_to_operators_are_dropped_when_they_are_old(engine: AsyncEngine) -> None:
    requests = OperatorRequests(engine)
    await requests.keep(OperatorReceipt("shop", "old", "POST", 200, None), NOW)
    await requests.keep(OperatorReceipt("shop", "new", "POST", 200, None), LATER)
    assert await drop_receipts(engine, NOW + DAY / 2) == 1
    assert await requests.find("shop", "old") is None
    assert await requests.find("shop", "new") is not None


def told(payment: str, refund: str = "re_1", at: datetime = NOW) -> Told:
    """A refund that was made years ago, and told now."""
    known = KnownRefund(refund, 500, "EUR", RefundStanding.SUCCEEDED, None, NOW - 1000 * DAY)
    return Told(0, operation_for(payment).id, known, at)


async def test_what_was_told_of_refunds_goes_when_it_is_old_and_no_payment_has_come(
    engine: AsyncEngine, store: Store, own: "asyncpg.Connection[Any]"
) -> None:
    for name in ("pay_1", "stripped"):
        await store.ingest(arrival_of(operation_for(name)))
    await finish(own, "stripped")
    await strip_finished(engine, LATER)
    names = ("pay_1", "stripped", "never_came")
    await add_told(own, [told(name) for name in names])
    await add_told(own, [told("never_came", "re_2", LATER), told("again")])
    await add_told(own, [told("again", at=LATER)])
    assert await drop_refunds_told(engine, NOW) == 0
    assert await drop_refunds_told(engine, LATER) == 2
    found = await told_of(engine, [(0, operation_for(name).id) for name in (*names, "again")])
    left = {(id_, refund.id) for id_, refunds in found.items() for refund in refunds}
    expected = {("pay_1", "re_1"), ("never_came", "re_2"), ("again", "re_1")}
    assert left == {(operation_for(name).id, refund) for name, refund in expected}
    assert await drop_refunds_told(engine, LATER) == 0


async def test_a_turn_that_was_never_given_back_goes_when_its_operation_is_final(
    engine: AsyncEngine, store: Store, own: "asyncpg.Connection[Any]"
) -> None:
    names = ("final", "open", "final_and_new")
    for name in names:
        operation = operation_for(name)
        await store.ingest(arrival_of(operation))
        await take(engine, RefundClaim("psp", name, operation.id, 1, LATER if name == "final_and_new" else NOW))
    for name in ("final", "final_and_new"):
        await finish(own, name)
    assert await drop_refund_claims(engine, NOW) == 0
    assert await drop_refund_claims(engine, LATER) == 1
    left = await own.fetch("SELECT payment_id FROM refund_claims ORDER BY 1")
    assert [row["payment_id"] for row in left] == ["final_and_new", "open"]
    assert await drop_refund_claims(engine, LATER) == 0


async def test_batches_of_refunds_and_turns_are_small_too(
    engine: AsyncEngine, store: Store, own: "asyncpg.Connection[Any]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    for number in range(3):
        operation = operation_for(f"pay_{number}")
        await store.ingest(arrival_of(operation))
        await finish(own, f"pay_{number}")
        await take(engine, RefundClaim("psp", f"pay_{number}", operation.id, 1, NOW))
        await add_told(own, [told(f"never_{number}")])
    assert [await drop_refunds_told(engine, LATER) for _ in range(3)] == [2, 1, 0]
    assert [await drop_refund_claims(engine, LATER) for _ in range(3)] == [2, 1, 0]
