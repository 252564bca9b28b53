"""Operators' calls on all that a query names."""

from typing import Any

import pytest

from app.saga.model import Operation
from tests.api.acts import act
from tests.api.desk import Desk


async def bulk(desk: Desk, action: str, query: str, **body: Any) -> dict[str, int]:
    answer = await desk.client.post(f"/operations/{action}?{query}", json=body)
    assert answer.status_code == 200, answer.text
    tally: dict[str, int] = answer.json()
    return tally


async def test_all_that_a_query_names_run_again(desk: Desk) -> None:
    held = [await desk.held(f"held_{number}") for number in range(3)]
    await desk.succeeded("done")
    error = await desk.failed("error")
    assert await bulk(desk, "retry", "source=shop", dry_run=True) == {"matched": 5, "changed": 4}
    assert (await desk.shown(held[0]))["status"] == "held"
    assert await bulk(desk, "retry", "status=held", note="fixed") == {"matched": 3, "changed": 3}
    history = (await desk.client.get(f"/operations/{held[0]}/history")).json()["items"]
    assert (history[-1]["note"], history[-1]["actor"]) == ("fixed", "anna")
    assert (await desk.shown(error))["status"] == "error"
    assert await bulk(desk, "retry", "status=held") == {"matched": 0, "changed": 0}
    assert await bulk(desk, "retry", "status=succeeded") == {"matched": 1, "changed": 0}


async def test_all_that_a_query_names_are_cancelled(desk: Desk) -> None:
    await desk.held("held")
    await desk.succeeded("done")
    pending = [await desk.pay(f"pending_{number}") for number in range(2)]
    assert await bulk(desk, "cancel", "order_id=order-1", dry_run=True) == {"matched": 4, "changed": 2}
    assert await bulk(desk, "cancel", "order_id=order-1") == {"matched": 4, "changed": 2}
    assert await bulk(desk, "cancel", "order_id=order-1") == {"matched": 4, "changed": 0}
    assert {(await desk.shown(id_))["reason"] for id_ in pending} == {"cancelled"}


async def test_many_are_never_meant_by_leaving_everything_out(desk: Desk) -> None:
    id_ = await desk.failed()
    for query in ("", "limit=10", "cursor=x", "state=error", "status=", "order_id="):
        for action in ("retry", "cancel"):
            answer = await desk.client.post(f"/operations/{action}?{query}", json={})
            assert answer.status_code == 422, query
    bad: list[object] = [{"undo_succeeded": True}, {"dry_run": "true"}, []]
    for body in bad:
        answer = await desk.client.post("/operations/cancel?status=error", json=body)
        assert answer.status_code == 422, body
    assert (await desk.shown(id_))["revision"] == 3


async def test_a_call_for_many_is_answered_once(desk: Desk) -> None:
    await desk.held()
    headers = {"Idempotency-Key": "k-1"}
    first = await desk.client.post("/operations/retry?status=held", headers=headers)
    again = await desk.client.post("/operations/retry?status=held", headers=headers)
    assert first.json() == again.json() == {"matched": 1, "changed": 1}
    assert "idempotent-replayed" in again.headers
    other = await desk.client.post("/operations/retry?status=error", headers=headers)
    assert other.status_code == 422


async def test_one_that_has_moved_since_it_was_listed_is_looked_at_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trap 56: a call for many that acts on a list which has gone stale."""
    id_ = await desk.held()
    load = desk.store.load

    async def settled_meanwhile(wanted: Any) -> Operation | None:
        monkeypatch.setattr(desk.store, "load", load)
        assert (await act(desk, id_, "retry", {})).status_code == 200
        return await load(wanted)

    monkeypatch.setattr(desk.store, "load", settled_meanwhile)
    assert await bulk(desk, "retry", "status=held") == {"matched": 1, "changed": 0}
    assert (await desk.shown(id_))["status"] == "pending"
