"""Reading operations: one, its changes, the numbers of all, and waiting for one."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest

from app.errors import DatabaseUnavailable
from app.saga.signals import StepDone
from tests.api.desk import UNAVAILABLE, Desk

UNKNOWN = "9c2a4d0e-5b1f-5e0a-8f4e-3a3f5a7d9b61"


async def test_an_operation_is_shown_as_the_contract_spells_it(desk: Desk) -> None:
    id_ = await desk.failed("pay_1")
    shown = await desk.shown(id_)
    assert shown == {
        "id": id_,
        "source": "shop",
        "external_id": "pay_1",
        "order_id": "order-1",
        "amount": 1999,
        "currency": "EUR",
        "saga": "purchase",
        "phase": "purchase",
        "status": "error",
        "reason": None,
        "held_reason": None,
        "step": "purchase",
        "failure_count": 1,
        "revision": 3,
        "next_run_at": shown["next_run_at"],
        "complete_by": None,
        "locked_by": None,
        "deadline": "2026-01-02T12:00:00Z",
        "cancel_requested_at": None,
        "occurred_at": "2026-01-01T11:59:59Z",
        "last_error": {"kind": "unavailable", "status": 503, "detail": "busy"},
        "why": shown["why"],
        "steps": [
            {"name": "payment", "status": "done", "result": None},
            {"name": "purchase", "status": "todo", "result": None},
        ],
        "external_refunds": [],
        "allowed_actions": ["retry", "cancel", "resolve"],
        "created_at": "2026-01-01T12:00:00Z",
        "updated_at": "2026-01-01T12:00:01Z",
        "finished_at": None,
    }
    assert shown["next_run_at"].endswith("Z")
    assert shown["why"]


async def test_what_is_no_id_and_an_unknown_one_are_not_found(client: httpx.AsyncClient) -> None:
    for id_ in (UNKNOWN, "1", "nothing", f"{{{UNKNOWN}}}", UNKNOWN.replace("-", ""), "%00", "stream"):
        for path in ("", "/attempts", "/history"):
            answer = await client.get(f"/operations/{id_}{path}")
            assert (answer.status_code, answer.json()["code"]) == (404, "not-found"), (id_, path)


async def test_an_entity_tag_says_what_is_known_already(desk: Desk) -> None:
    id_ = await desk.pay()
    answer = await desk.client.get(f"/operations/{id_}")
    assert answer.headers["etag"] == '"1"'
    for known in ('"1"', 'W/"1"', "*", '"0", "1"'):
        same = await desk.client.get(f"/operations/{id_}", headers={"If-None-Match": known})
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", '"1"')
    assert (await desk.client.get(f"/operations/{id_}", headers={"If-None-Match": '"2"'})).status_code == 200


async def test_waiting_ends_when_the_operation_does(desk: Desk) -> None:
    id_ = await desk.pay()
    waiting = asyncio.create_task(desk.client.get(f"/operations/{id_}", headers={"Prefer": "wait=20"}))
    [operation] = await desk.claim()
    await desk.record(operation, StepDone({"ref": "A"}))
    answer = await asyncio.wait_for(waiting, 10)
    assert answer.json()["status"] == "succeeded"
    assert answer.headers["preference-applied"] == "wait=20"


async def test_a_long_poll_ends_with_the_next_revision(desk: Desk) -> None:
    id_ = await desk.pay()
    headers = {"Prefer": "wait=20", "If-None-Match": '"1"'}
    waiting = asyncio.create_task(desk.client.get(f"/operations/{id_}", headers=headers))
    await desk.claim()
    answer = await asyncio.wait_for(waiting, 10)
    assert (answer.status_code, answer.json()["status"], answer.headers["etag"]) == (200, "processing", '"2"')


async def test_waiting_ends_when_its_time_is_over(desk: Desk) -> None:
    id_ = await desk.pay()
    answer = await desk.client.get(f"/operations/{id_}", headers={"Prefer": "wait=1", "If-None-Match": '"1"'})
    assert (answer.status_code, answer.headers["preference-applied"]) == (304, "wait=1")


async def test_who_waits_for_what_is_settled_is_answered_at_once(desk: Desk) -> None:
    for id_ in (await desk.succeeded("pay_1"), await desk.held("pay_2")):
        headers = {"Prefer": "wait=30", "If-None-Match": "*"}
        answer = await asyncio.wait_for(desk.client.get(f"/operations/{id_}", headers=headers), 10)
        assert answer.status_code == 304


async def test_nobody_waits_for_a_service_that_stops(desk: Desk) -> None:
    id_ = await desk.pay()
    waiting = asyncio.create_task(desk.client.get(f"/operations/{id_}", headers={"Prefer": "wait=30"}))
    while not desk.app.state.waiting._waiters:
        await asyncio.sleep(0)
    desk.context.stopping.set()
    answer = await asyncio.wait_for(waiting, 10)
    assert (answer.status_code, answer.json()["status"]) == (200, "pending")


async def test_the_history_tells_every_revision(desk: Desk) -> None:
    id_ = await desk.failed()
    await desk.client.post(f"/operations/{id_}/cancel", json={"note": "the customer called"})
    items = (await desk.client.get(f"/operations/{id_}/history")).json()["items"]
    assert [item["revision"] for item in items] == [1, 2, 3, 4]
    assert items[0]["from"] is None
    assert items[0]["to"] == {"phase": "purchase", "status": "pending"}
    assert [item["from"] for item in items[1:]] == [item["to"] for item in items[:-1]]
    assert items[3]["to"] == {"phase": "refund", "status": "pending"}
    assert (items[3]["cause"], items[3]["actor"], items[3]["note"]) == (
        "cancel_requested",
        "anna",
        "the customer called",
    )
    assert items[3].keys() == {"revision", "from", "to", "cause", "actor", "at", "note"}


async def test_while_the_database_is_away_reading_is_503(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    id_ = await desk.pay()

    def away(*_: object, **__: object) -> None:
        raise DatabaseUnavailable("gone")

    monkeypatch.setattr("app.db.reads._rows", away)
    monkeypatch.setattr("app.api.stats.counted", away)
    for path in ("", f"/{id_}", f"/{id_}/attempts", f"/{id_}/history"):
        answer = await desk.client.get(f"/operations{path}")
        assert (answer.status_code, answer.json()["retryable"]) == (503, True)
        assert "retry-after" in answer.headers
    assert (await desk.client.get("/events")).status_code == 503
    assert (await desk.client.get("/stats")).status_code == 503


async def test_the_numbers_of_the_whole_come_out(desk: Desk) -> None:
    await desk.held("pay_1")
    await desk.succeeded("pay_2")
    await desk.failed("pay_3")
    await desk.pay("pay_4")
    desk.clock.advance(timedelta(seconds=5))
    said = (await desk.client.get("/stats")).json()
    assert said.keys() == {"operations", "conservation", "oldest_pending_seconds", "finished_per_minute"}
    assert said["conservation"] == {
        "payments": 4,
        "succeeded": 1,
        "refunded": 0,
        "held": 1,
        "under_way": 2,
        "difference": 0,
    }
    assert {"status": "held", "phase": "refund", "count": 1} in said["operations"]
    assert said["oldest_pending_seconds"] == 6
    assert said["finished_per_minute"] == 1


async def test_cancel_and_completion_at_once_have_one_order(desk: Desk) -> None:
    """Trap 25: an operator cancels at the instant a worker records that it is done; both orders end right."""
    first = await desk.pay("pay_1")
    [operation] = await desk.claim()
    assert (await desk.client.post(f"/operations/{first}/cancel")).json()["cancel_requested_at"] is not None
    assert not await desk.record(operation, StepDone(None))
    stored = await desk.store.load(operation.id)
    assert stored is not None
    assert await desk.record(stored, StepDone(None))
    assert (await desk.shown(first))["phase"] == "refund"

    second = await desk.pay("pay_2")
    [operation] = [each for each in await desk.claim(9) if str(each.id) == second]
    assert await desk.record(operation, StepDone(None))
    refused = await desk.client.post(f"/operations/{second}/cancel")
    assert (refused.status_code, refused.json()["code"]) == (409, "not-allowed")
    assert (await desk.shown(second))["status"] == "succeeded"


async def test_a_worker_s_answer_between_reading_and_writing_is_not_swallowed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trap 25: a decision on what has changed meanwhile; the loser loads and decides again."""
    id_ = await desk.pay()
    [operation] = await desk.claim()
    load = desk.store.load

    async def overtaken(wanted: Any) -> Any:
        stored = await load(wanted)
        monkeypatch.setattr(desk.store, "load", load)
        assert await desk.record(operation, UNAVAILABLE)
        return stored

    monkeypatch.setattr(desk.store, "load", overtaken)
    answer = await desk.client.post(f"/operations/{id_}/cancel")
    assert answer.status_code == 200
    assert (answer.json()["phase"], answer.json()["revision"]) == ("refund", 4)
