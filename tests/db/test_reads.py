"""What is looked at: every filter of the lists, their pages, and what lies behind an operation."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.db import reads
from app.db.engine import AsyncEngine, connect
from app.db.filters import OperationFilter
from app.db.reads import Cursor
from app.db.sagas import Sagas
from app.db.store import Store
from app.db.tables import EventStatus
from app.saga.model import Action, Operation, Outcome, Phase, Status
from tests.builders import NOW, FixedClock, arrival_of, operation_for, purchase_saga

MINUTE = timedelta(minutes=1)

ADD_ATTEMPT = """
INSERT INTO attempts (bucket, operation_serial, lease, step, action, attempt, worker, request, response, outcome,
                      started_at, finished_at)
VALUES (0, (SELECT serial FROM operations WHERE id = $1), $2, 'purchase', 'do', $2, 'worker-1', $3, $4, $5, '2026-01-01 12:00Z', $6)
"""
ADD_HISTORY = """
INSERT INTO history (bucket, operation_serial, revision, transition, from_phase, from_status, to_phase, to_status, cause,
                     actor, at, note)
VALUES (0, (SELECT serial FROM operations WHERE id = $1), 2, $2, 'purchase', 'pending', 'refund', 'pending', 'cancel_requested', 'api_key:shop', $3,
        'the customer called')
"""


async def stored(engine: AsyncEngine, url: str, *operations: Operation) -> None:
    """Stores operations by the door that payments come in by."""
    await Sagas(engine, {}).store(purchase_saga())
    store = Store(url, 1, FixedClock())
    for operation in operations:
        await store.ingest(arrival_of(operation))
    await store.close()


async def execute(url: str, statement: str, *arguments: object) -> None:
    connection = await connect(url)
    await connection.execute(statement, *arguments)
    await connection.close()


@pytest.fixture
async def payments(engine: AsyncEngine, database_url: str) -> dict[str, UUID]:
    """Five payments, a minute apart, the oldest first; their ids by name."""
    made = [
        operation_for("pay_1", order_id="order-1", now=NOW),
        operation_for("pay_2", order_id="order-2", now=NOW + MINUTE),
        replace(operation_for("pay_3", order_id="order-1", now=NOW + 2 * MINUTE), source="till"),
        operation_for("pay_4", order_id="order-4", now=NOW + 3 * MINUTE),
        operation_for("pay_5", order_id="order-5", now=NOW + 4 * MINUTE),
    ]
    await stored(engine, database_url, *made)
    await execute(
        database_url,
        "UPDATE operations SET status = 'held', held_reason = 'cannot_undo', next_run_at = NULL, phase = 'refund'"
        " WHERE external_id = 'pay_4'",
    )
    await execute(database_url, "UPDATE operations SET status = 'error' WHERE external_id = 'pay_5'")
    return {operation.external_id: operation.id for operation in made}


@pytest.mark.parametrize(
    ("filters", "named"),
    [
        (OperationFilter(), ["pay_5", "pay_4", "pay_3", "pay_2", "pay_1"]),
        (OperationFilter(external_id="pay_2"), ["pay_2"]),
        (OperationFilter(order_id="order-1"), ["pay_3", "pay_1"]),
        (OperationFilter(source="till"), ["pay_3"]),
        (OperationFilter(source="till", order_id="order-2"), []),
        (OperationFilter(statuses=frozenset({Status.HELD})), ["pay_4"]),
        (OperationFilter(statuses=frozenset({Status.HELD, Status.ERROR})), ["pay_5", "pay_4"]),
        (OperationFilter(phase=Phase.REFUND), ["pay_4"]),
        (OperationFilter(phase=Phase.PURCHASE, statuses=frozenset({Status.ERROR})), ["pay_5"]),
        (OperationFilter(created_after=NOW + 3 * MINUTE), ["pay_5", "pay_4"]),
        (OperationFilter(created_before=NOW + 2 * MINUTE), ["pay_2", "pay_1"]),
        (OperationFilter(created_after=NOW + MINUTE, created_before=NOW + 3 * MINUTE), ["pay_3", "pay_2"]),
    ],
)
async def test_all_filters_that_are_given_must_match_and_the_newest_comes_first(
    engine: AsyncEngine, payments: dict[str, UUID], filters: OperationFilter, named: list[str]
) -> None:
    found = await reads.operations(engine, filters, 10)
    assert [operation.external_id for operation in found] == named
    assert await reads.count(engine, filters) == len(named)
    everything = await reads.operations(engine, OperationFilter(), len(payments))
    assert [operation.external_id for operation in everything if filters.names(operation)] == named


async def test_pages_go_on_where_the_last_one_ended_also_among_operations_of_one_instant(
    engine: AsyncEngine, database_url: str
) -> None:
    await stored(engine, database_url, *(operation_for(f"pay_{number}") for number in range(7)))
    seen: list[UUID] = []
    after: Cursor | None = None
    while page := await reads.operations(engine, OperationFilter(), 3, after):
        assert len(page) <= 3
        seen += [operation.id for operation in page]
        after = (page[-1].created_at, page[-1].id)
    assert seen == sorted(seen, reverse=True)
    assert len(set(seen)) == 7


async def test_an_operation_is_read_as_it_was_stored(engine: AsyncEngine, database_url: str) -> None:
    operation = operation_for(amount=2**63 - 1)
    await stored(engine, database_url, operation)
    found = await reads.operation(engine, operation.id)
    assert found is not None
    assert found == operation
    assert await reads.operation(engine, uuid4()) is None


async def test_revisions_of_many_operations_come_in_one_answer(engine: AsyncEngine, payments: dict[str, UUID]) -> None:
    found = await reads.revisions(engine, [*payments.values(), uuid4()])
    assert found == {
        id_: (1, {"pay_4": Status.HELD, "pay_5": Status.ERROR}.get(name, Status.PENDING))
        for name, id_ in payments.items()
    }
    assert all(isinstance(status, Status) for _, status in found.values())
    assert await reads.revisions(engine, []) == {}


async def test_attempts_are_listed_oldest_first_and_from_before_they_go_out(
    engine: AsyncEngine, database_url: str, payments: dict[str, UUID]
) -> None:
    id_ = payments["pay_1"]
    request = {"method": "POST", "url": "https://supplier.example/purchases", "body": {"id": 2**70}}
    response = {"status": 502, "body": "\x00"}
    connection = await connect(database_url)
    await connection.executemany(
        ADD_ATTEMPT,
        [
            (id_, 2, json.dumps(request), None, None, None),
            (id_, 1, json.dumps(request), json.dumps(response), "unknown", NOW + MINUTE),
        ],
    )
    await connection.close()
    first, second = await reads.attempts(engine, id_)
    assert (first.attempt, first.outcome, first.response, first.finished_at) == (
        1,
        Outcome.UNKNOWN,
        {"status": 502, "body": "\x00"},
        NOW + MINUTE,
    )
    assert (second.attempt, second.outcome, second.response, second.finished_at) == (2, None, None, None)
    assert (second.action, second.request, second.worker) == (Action.DO, request, "worker-1")
    assert await reads.attempts(engine, uuid4()) == []


async def test_history_begins_with_the_creation(
    engine: AsyncEngine, database_url: str, payments: dict[str, UUID]
) -> None:
    id_ = payments["pay_1"]
    connection = await connect(database_url)
    await connection.execute(ADD_HISTORY, id_, uuid4(), NOW + MINUTE)
    await connection.close()
    created, cancelled = await reads.history(engine, id_)
    assert (created.revision, created.from_phase, created.from_status) == (1, None, None)
    assert (created.to_phase, created.to_status) == (Phase.PURCHASE, Status.PENDING)
    assert (cancelled.from_phase, cancelled.to_phase, cancelled.note, cancelled.at) == (
        Phase.PURCHASE,
        Phase.REFUND,
        "the customer called",
        NOW + MINUTE,
    )


async def add_event(
    url: str, source: str, status: str, at: datetime, payload: bytes | None, operation: UUID | None = None
) -> UUID:
    id_ = uuid4()
    await execute(
        url,
        "INSERT INTO events (bucket, id, source, deliveries, status, operation_serial, received_at, payload)"
        " VALUES (0, $1, $2, 1, $3, (SELECT serial FROM operations WHERE id = $4), $5, $6)",
        *(id_, source, status, operation, at, payload),
    )
    return id_


async def test_events_are_listed_newest_first_by_status_and_source(
    engine: AsyncEngine, database_url: str, payments: dict[str, UUID]
) -> None:
    ignored = await add_event(database_url, "shop", "ignored", NOW + 10 * MINUTE, b"{}")
    broken = await add_event(database_url, "till", "unprocessable", NOW + 11 * MINUTE, b"[]")
    newest = await reads.events(engine, (), None, 3)
    assert [event.id for event in newest[:2]] == [broken, ignored]
    assert (newest[2].status, newest[2].operation_id) == (EventStatus.ACCEPTED, payments["pay_5"])
    assert [event.id for event in await reads.events(engine, {EventStatus.IGNORED}, None, 9)] == [ignored]
    assert [event.id for event in await reads.events(engine, (), "till", 9)][:1] == [broken]
    assert {event.source for event in await reads.events(engine, (), "till", 9)} == {"till"}
    both = {EventStatus.IGNORED, EventStatus.UNPROCESSABLE}
    assert [event.id for event in await reads.events(engine, both, "shop", 9)] == [ignored]
    rest = await reads.events(engine, both, None, 9, (newest[0].received_at, newest[0].id))
    assert [event.id for event in rest] == [ignored]


@pytest.mark.parametrize(
    ("payload", "shown"),
    [
        (b'{"amount": 1267650600228229401496703205376, "note": "\\u0000"}', {"amount": 2**100, "note": "\x00"}),
        (b"payment=1", "payment=1"),
        (b'{"amount": NaN}', '{"amount": NaN}'),
        (b'{"amount": 1e999}', '{"amount": 1e999}'),
        (b"\xff", "�"),
        (None, None),
    ],
)
async def test_a_payload_is_shown_as_json_or_as_text_where_it_is_none(
    engine: AsyncEngine, database_url: str, payload: bytes | None, shown: Any
) -> None:
    id_ = await add_event(database_url, "shop", "ignored", NOW, payload)
    event = await reads.event(engine, id_)
    assert event is not None
    assert event.payload == shown
    assert json.dumps(event.payload, allow_nan=False)
    row = await reads.event_row(engine, id_)
    assert row is not None
    assert (row.payload, row.bucket, row.status) == (payload, 0, EventStatus.IGNORED)
    assert await reads.event(engine, uuid4()) is None
