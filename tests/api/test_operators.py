"""Operators' calls on one operation: each in every status that matters, the revision decided on, and keys that come twice."""

import asyncio
from typing import Any

import pytest

from app.api.idempotency import REPLAYED
from app.saga.model import Operation
from tests.api.acts import act
from tests.api.desk import Desk

UNKNOWN = "9c2a4d0e-5b1f-5e0a-8f4e-3a3f5a7d9b61"
SETTLED = {"outcome": "refunded", "note": "paid back by hand"}


async def test_a_retry_runs_it_again_now(desk: Desk) -> None:
    id_ = await desk.failed()
    answer = await desk.client.post(f"/operations/{id_}/retry")
    assert answer.status_code == 200
    said = answer.json()
    assert (said["status"], said["failure_count"], said["revision"]) == ("pending", 0, 4)
    assert answer.headers["etag"] == '"4"'
    assert said == await desk.shown(id_)
    [operation] = await desk.claim()
    assert str(operation.id) == id_


async def test_a_retry_of_what_runs_or_is_final_names_what_is_allowed(desk: Desk) -> None:
    """Trap 24: an operator's retry over a worker that runs would run both."""
    id_ = await desk.pay("pay_1")
    for _ in range(2):
        answer = await act(desk, id_, "retry", {})
        assert (answer.status_code, answer.json()["code"]) == (409, "not-allowed")
        assert "cancel" in answer.json()["detail"]
        await desk.claim()


async def test_a_cancel_turns_to_refund_and_a_second_one_changes_nothing(desk: Desk) -> None:
    id_ = await desk.pay()
    first = await act(desk, id_, "cancel", {"note": "changed his mind"})
    assert (first.status_code, first.json()["phase"], first.json()["reason"]) == (200, "refund", "cancelled")
    second = await act(desk, id_, "cancel")
    assert second.status_code == 200
    assert second.json() == first.json()


async def test_a_purchase_that_succeeded_is_undone_only_if_that_is_said(desk: Desk) -> None:
    id_ = await desk.succeeded()
    refused = await act(desk, id_, "cancel", {})
    assert (refused.status_code, refused.json()["code"]) == (409, "not-allowed")
    taken = await act(desk, id_, "cancel", {"undo_succeeded": True})
    assert (taken.status_code, taken.json()["phase"], taken.json()["finished_at"]) == (200, "refund", None)


async def test_a_human_s_word_ends_what_is_held(desk: Desk) -> None:
    id_ = await desk.held()
    answer = await act(desk, id_, "resolve", SETTLED)
    assert (answer.status_code, answer.json()["status"], answer.json()["held_reason"]) == (200, "refunded", None)
    assert (await act(desk, id_, "resolve", SETTLED)).status_code == 409


async def test_a_human_s_word_settles_one_step(desk: Desk) -> None:
    id_ = await desk.failed()
    answer = await act(desk, id_, "resolve", {"step": "purchase", "outcome": "done", "note": "seen at the supplier"})
    assert (answer.status_code, answer.json()["status"]) == (200, "succeeded")
    assert [step["status"] for step in answer.json()["steps"]] == ["done", "done"]


BAD_BODIES: list[tuple[str, Any]] = [
    ("retry", {"nonsense": 1}),
    ("retry", {"note": 1}),
    ("retry", {"note": "x" * 10_001}),
    ("retry", {"note": "a\x00b"}),
    ("retry", []),
    ("retry", "text"),
    ("cancel", {"undo_succeeded": "yes"}),
    ("cancel", {"undo_succeeded": 1}),
    ("cancel", {"dry_run": True}),
    ("resolve", None),
    ("resolve", {}),
    ("resolve", {"outcome": "refunded"}),
    ("resolve", {"note": "why"}),
    ("resolve", {"outcome": "refunded", "note": ""}),
    ("resolve", {"outcome": "held", "note": "why"}),
    ("resolve", {"outcome": "done", "note": "why"}),
    ("resolve", {"step": "purchase", "outcome": "refunded", "note": "why"}),
    ("resolve", {"step": "purchase", "outcome": "done"}),
    ("resolve", {"step": "hotel", "outcome": "done", "note": "why"}),
]


async def test_bodies_that_do_not_validate_change_nothing(desk: Desk) -> None:
    id_ = await desk.failed()
    before = await desk.shown(id_)
    for action, body in BAD_BODIES:
        answer = await act(desk, id_, action, body)
        assert answer.status_code == 422, (action, body)
        assert answer.json()["errors"], (action, body)
    raw = [b"{", b"nope", b'{"note": "\\ud800"}', b'{"note": "\xff"}', b'{"note": NaN}', b"[" * 60_000, b"null"]
    for content in raw:
        answer = await desk.client.post(
            f"/operations/{id_}/retry", content=content, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == 422, content[:20]
    for media_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        answer = await desk.client.post(f"/operations/{id_}/retry", content=b"{}", headers={"Content-Type": media_type})
        assert answer.status_code == 422, media_type
    large = await desk.client.post(f"/operations/{id_}/retry", json={"note": "x" * 70_000})
    assert large.status_code == 413
    assert (await desk.client.post(f"/operations/{id_}/retry?x=1")).status_code == 422
    assert await desk.shown(id_) == before


async def test_what_is_unknown_is_not_found(desk: Desk) -> None:
    for id_ in (UNKNOWN, "1"):
        for action, body in (("retry", {}), ("cancel", {}), ("resolve", SETTLED)):
            assert (await act(desk, id_, action, body)).status_code == 404


async def test_a_decision_on_an_older_revision_is_refused(desk: Desk) -> None:
    """Trap 24: a human decides on a page that has gone stale while he read it."""
    id_ = await desk.failed()
    for stale in ('"2"', 'W/"3"', '"2", "4"', "nonsense"):
        answer = await act(desk, id_, "cancel", {}, If_Match=stale)
        assert (answer.status_code, answer.json()["code"]) == (412, "revision-moved"), stale
    assert (await act(desk, id_, "cancel", {}, If_Match='"2", "3"')).status_code == 200
    assert (await act(desk, id_, "cancel", {}, If_Match='"3"')).status_code == 412
    assert (await act(desk, UNKNOWN, "cancel", {}, If_Match="*")).status_code == 404


async def test_a_revision_that_moves_between_reading_and_writing_is_refused(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    id_ = await desk.failed()
    load = desk.store.load

    async def overtaken(wanted: Any) -> Operation | None:
        stored = await load(wanted)
        monkeypatch.setattr(desk.store, "load", load)
        assert (await act(desk, id_, "retry", {})).status_code == 200
        return stored

    monkeypatch.setattr(desk.store, "load", overtaken)
    assert (await act(desk, id_, "cancel", {}, If_Match='"3"')).status_code == 412
    assert (await desk.shown(id_))["phase"] == "purchase"


async def test_the_same_key_and_request_are_answered_alike(desk: Desk) -> None:
    id_ = await desk.failed()
    first = await act(desk, id_, "retry", {"note": "again"}, Idempotency_Key="k-1")
    assert first.status_code == 200
    assert "idempotent-replayed" not in first.headers
    await desk.claim()
    for key in ("k-1", '"k-1"'):
        again = await act(desk, id_, "retry", {"note": "again"}, Idempotency_Key=key)
        assert (again.status_code, again.json()) == (200, first.json())
        assert again.headers["idempotent-replayed"] == REPLAYED["Idempotent-Replayed"]
        assert again.headers["etag"] == first.headers["etag"]
    assert (await desk.shown(id_))["revision"] == 5


async def test_the_same_key_with_another_request_is_refused(desk: Desk) -> None:
    id_ = await desk.failed("pay_1")
    other = await desk.failed("pay_2")
    await act(desk, id_, "retry", {"note": "again"}, Idempotency_Key="k-1")
    for path, body in ((id_, {"note": "other"}), (id_, None), (other, {"note": "again"})):
        answer = await act(desk, path, "retry", body, Idempotency_Key="k-1")
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency-key-reused")
    cancel = await act(desk, id_, "cancel", {"note": "again"}, Idempotency_Key="k-1")
    assert cancel.status_code == 422
    assert (await desk.shown(other))["status"] == "error"


async def test_a_refusal_is_not_kept_under_its_key(desk: Desk) -> None:
    id_ = await desk.pay()
    assert (await act(desk, id_, "retry", {}, Idempotency_Key="k-1")).status_code == 409
    [operation] = await desk.claim()
    assert str(operation.id) == id_
    assert (await act(desk, id_, "cancel", {}, Idempotency_Key="k-1")).status_code == 200


async def test_what_changes_nothing_is_kept_under_its_key_too(desk: Desk) -> None:
    id_ = await desk.pay()
    await act(desk, id_, "cancel")
    first = await act(desk, id_, "cancel", {}, Idempotency_Key="k-1")
    again = await act(desk, id_, "cancel", {}, Idempotency_Key="k-1")
    assert (again.status_code, again.json()) == (200, first.json())
    assert "idempotent-replayed" in again.headers


async def test_a_key_at_once_twice_has_one_effect(desk: Desk) -> None:
    id_ = await desk.failed()
    answers = await asyncio.gather(*(act(desk, id_, "retry", {}, Idempotency_Key="k-1") for _ in range(8)))
    assert {answer.status_code for answer in answers} <= {200, 409}
    codes = {answer.json()["code"] for answer in answers if answer.status_code == 409}
    assert codes <= {"idempotency-key-in-use"}
    assert (await desk.shown(id_))["revision"] == 4


async def test_a_key_in_two_processes_at_once_has_one_effect(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another process has answered between our look and our write is answered by it, not done again."""
    id_ = await desk.failed("pay_1")
    await act(desk, id_, "retry", {}, Idempotency_Key="k-1")
    requests = desk.context.control.requests
    find = requests.find
    looked = 0

    async def too_early(*key: str) -> Any:
        nonlocal looked
        looked += 1
        return None if looked == 1 else await find(*key)

    monkeypatch.setattr(requests, "find", too_early)
    again = await act(desk, id_, "retry", {}, Idempotency_Key="k-1")
    assert (again.status_code, "idempotent-replayed" in again.headers) == (200, True)
    looked = 0
    cancel = await act(desk, id_, "cancel", {}, Idempotency_Key="k-1")
    assert (cancel.status_code, cancel.json()["code"]) == (409, "idempotency-key-in-use")
    assert (await desk.shown(id_))["phase"] == "purchase"


async def test_what_is_no_key_is_refused(desk: Desk) -> None:
    id_ = await desk.failed()
    for key in ("", '""', "a b", "x" * 256, "\u00e9"):
        answer = await desk.client.post(f"/operations/{id_}/retry", headers={b"Idempotency-Key": key.encode("latin-1")})
        assert answer.status_code == 422, key
    assert (await desk.shown(id_))["status"] == "error"
