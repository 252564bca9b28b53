"""An operator's work from the command line: what is asked of the service, and what is said of its answers."""

import io
import json
import re
import sys
from typing import Any

import pytest

from tests.cli.conftest import Makegood, Service

ID = "0b0e8fbb-57d5-5c4c-9d7a-4b0f0f1a6f5e"
PATH = f"/operations/{ID}"


def operation(**fields: Any) -> dict[str, Any]:
    return {
        "id": ID,
        "source": "shop",
        "external_id": "pay_1",
        "order_id": "order-1",
        "amount": 1999,
        "currency": "EUR",
        "saga": "purchase",
        "phase": "purchase",
        "status": "held",
        "reason": None,
        "held_reason": "cannot_undo",
        "step": "purchase",
        "revision": 7,
        "next_run_at": None,
        "complete_by": None,
        "deadline": "2026-01-02T03:04:05Z",
        "why": "purchase: cannot be undone",
        "steps": [{"name": "payment", "status": "done"}, {"name": "purchase", "status": "unknown"}],
        "created_at": "2026-01-02T03:04:05Z",
        "finished_at": None,
        **fields,
    }


def test_list_shows_operations_in_columns_with_money_as_people_write_it(makegood: Makegood, service: Service) -> None:
    items = [
        operation(),
        operation(amount=1500, currency="JPY", order_id="order-2"),
        operation(amount=5, currency="KWD"),
    ]
    service.answer("GET", "/operations", (200, {"items": items, "next_cursor": None}))
    said = makegood("operations", "list")
    assert said.status == 0
    assert said.out.splitlines()[0].split() == ["ID", "STATUS", "PHASE", "STEP", "ORDER", "AMOUNT", "CREATED", "WHY"]
    assert [money for money in ("19.99 EUR", "1500 JPY", "0.005 KWD") if money in said.out] == [
        "19.99 EUR",
        "1500 JPY",
        "0.005 KWD",
    ]
    assert service.asked[0].headers["authorization"] == "Bearer mg_secret"


def test_list_asks_with_every_filter(makegood: Makegood, service: Service) -> None:
    service.answer("GET", "/operations", (200, {"items": [], "next_cursor": None}))
    given = {
        "external-id": "pay_1",
        "order-id": "order-1",
        "source": "shop",
        "phase": "refund",
        "created-after": "2026-01-01T00:00:00Z",
        "created-before": "2026-01-02T00:00:00Z",
    }
    options = [part for name, value in given.items() for part in (f"--{name}", value)]
    assert makegood("operations", "list", "--status", "held", "--status", "error", *options).status == 0
    expected = [("status", "held"), ("status", "error"), ("limit", "50")]
    assert sorted(service.asked[0].query) == sorted(
        expected + [(name.replace("-", "_"), value) for name, value in given.items()]
    )


def test_list_follows_the_cursor_up_to_its_limit(makegood: Makegood, service: Service) -> None:
    service.answer(
        "GET",
        "/operations",
        (200, {"items": [operation(order_id="a"), operation(order_id="b")], "next_cursor": "more"}),
        (200, {"items": [operation(order_id="c"), operation(order_id="d")], "next_cursor": "still more"}),
    )
    said = makegood("operations", "list", "--limit", "3", "-o", "jsonl")
    assert [json.loads(line)["order_id"] for line in said.out.splitlines()] == ["a", "b", "c"]
    assert ("cursor", "more") in service.asked[1].query
    assert len(service.asked) == 2


def test_list_as_json_is_one_document(makegood: Makegood, service: Service) -> None:
    service.answer("GET", "/operations", (200, {"items": [operation()], "next_cursor": None}))
    assert json.loads(makegood("operations", "list", "-o", "json").out) == {"items": [operation()]}


def shown(service: Service) -> None:
    attempt = {
        "step": "purchase",
        "action": "do",
        "attempt": 1,
        "outcome": "unknown",
        "response": None,
        "started_at": "2026-01-02T03:04:05Z",
    }
    item = {
        "revision": 1,
        "from": None,
        "to": {"phase": "purchase", "status": "pending"},
        "cause": "received",
        "actor": "webhook",
        "at": "2026-01-02T03:04:05Z",
        "note": None,
    }
    service.answer("GET", PATH, (200, operation()))
    service.answer("GET", f"{PATH}/attempts", (200, {"items": [attempt]}))
    service.answer("GET", f"{PATH}/history", (200, {"items": [item]}))


def test_show_tells_the_whole_story(makegood: Makegood, service: Service) -> None:
    shown(service)
    said = makegood("operations", "show", ID, "--wait", "5")
    assert said.status == 0
    for told in ("held_reason", "cannot_undo", "19.99 EUR", "purchase  unknown", "received", "cannot be undone"):
        assert told in said.out
    assert service.asked[0].headers["prefer"] == "wait=5"


def test_show_tells_what_others_gave_back(makegood: Makegood, service: Service) -> None:
    shown(service)
    refund = {"id": "re_1", "amount": 500, "status": "succeeded", "at": "2026-01-02T03:04:05Z"}
    service.answer("GET", PATH, (200, operation(external_refunds=[refund])))
    said = makegood("operations", "show", ID).out
    assert "GIVEN BACK ELSEWHERE" in said
    assert re.search(r"re_1 +5\.00 EUR +succeeded", said)


def test_show_as_json_is_the_operation_with_its_attempts_and_history(makegood: Makegood, service: Service) -> None:
    shown(service)
    value = json.loads(makegood("operations", "show", ID, "-o", "json").out)
    assert (value["status"], value["attempts"][0]["outcome"], value["history"][0]["cause"]) == (
        "held",
        "unknown",
        "received",
    )


@pytest.mark.parametrize(
    ("arguments", "action", "body"),
    [
        (["retry"], "retry", {}),
        (["retry", "--note", "mended"], "retry", {"note": "mended"}),
        (["cancel"], "cancel", {}),
        (["cancel", "--undo-succeeded"], "cancel", {"undo_succeeded": True}),
        (
            ["resolve", "--outcome", "refunded", "--note", "by hand"],
            "resolve",
            {"outcome": "refunded", "note": "by hand"},
        ),
        (
            ["resolve", "--step", "hotel", "--outcome", "undone", "--note", "called them"],
            "resolve",
            {"step": "hotel", "outcome": "undone", "note": "called them"},
        ),
    ],
)
def test_operators_call_is_posted_under_a_key_of_its_own(
    makegood: Makegood, service: Service, arguments: list[str], action: str, body: dict[str, Any]
) -> None:
    service.answer("POST", f"{PATH}/{action}", (200, operation(status="pending")))
    command, *options = arguments
    said = makegood("operations", command, ID, *options, "--revision", "7")
    assert (said.status, service.asked[0].json) == (0, body)
    assert service.asked[0].headers["if-match"] == '"7"'
    assert len(service.asked[0].headers["idempotency-key"]) == 36
    assert "pending" in said.out


@pytest.mark.parametrize("action", ["retry", "cancel"])
def test_many_are_changed_at_once_when_nobody_is_to_be_asked(makegood: Makegood, service: Service, action: str) -> None:
    service.answer("POST", f"/operations/{action}", (200, {"matched": 3, "changed": 2}))
    said = makegood("operations", action, "--status", "held", "--note", "mended", "--yes")
    assert (said.status, said.out) == (0, "matched 3, changed 2\n")
    assert [asked.json for asked in service.asked] == [{"note": "mended"}]
    assert service.asked[0].query == [("status", "held")]


def test_dry_run_only_counts(makegood: Makegood, service: Service) -> None:
    service.answer("POST", "/operations/retry", (200, {"matched": 3, "changed": 2}))
    said = makegood("operations", "retry", "--status", "held", "--dry-run", "-o", "json")
    assert json.loads(said.out) == {"matched": 3, "changed": 2}
    assert [asked.json for asked in service.asked] == [{"dry_run": True}]


def test_dry_run_does_not_say_that_anything_was_changed(makegood: Makegood, service: Service) -> None:
    service.answer("POST", "/operations/cancel", (200, {"matched": 3, "changed": 2}))
    assert makegood("operations", "cancel", "--status", "held", "--dry-run").out == "matched 3, would change 2\n"


@pytest.mark.parametrize(("typed", "status", "changed"), [("y\n", 0, True), ("n\n", 1, False)])
def test_person_is_asked_with_the_count(
    makegood: Makegood,
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
    typed: str,
    status: int,
    changed: bool,
) -> None:
    service.answer("POST", "/operations/cancel", (200, {"matched": 3, "changed": 2}))
    terminal = io.StringIO(typed)
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", terminal)
    said = makegood("operations", "cancel", "--status", "error")
    assert (said.status, "cancel 2 of 3 operations?" in said.err) == (status, True)
    assert [asked.json for asked in service.asked] == [{"dry_run": True}, {}][: 1 + changed]


def test_many_are_not_changed_where_nobody_can_be_asked(makegood: Makegood, service: Service) -> None:
    said = makegood("operations", "retry", "--status", "held")
    assert said.status == 2
    assert "--yes" in said.err
    assert service.asked == []


@pytest.mark.parametrize("arguments", [[], [ID, "--status", "held"]])
def test_neither_one_nor_many_or_both_is_a_mistake(makegood: Makegood, service: Service, arguments: list[str]) -> None:
    assert makegood("operations", "cancel", *arguments).status == 2
    assert service.asked == []


@pytest.mark.parametrize(
    ("answered", "status"), [(401, 1), (403, 1), (404, 3), (409, 4), (412, 4), (422, 2), (429, 5), (500, 1), (503, 5)]
)
def test_exit_status_says_how_it_was_refused(makegood: Makegood, service: Service, answered: int, status: int) -> None:
    problem = {"code": "some-code", "detail": "so it is", "errors": [{"pointer": "/note", "detail": "too long"}]}
    service.answer("POST", f"{PATH}/retry", (answered, problem))
    said = makegood("operations", "retry", ID)
    assert said.status == status
    assert said.err.splitlines() == ["some-code: so it is", "/note: too long"]
    assert said.out == ""


@pytest.mark.usefixtures("service")
def test_service_that_is_not_there_is_unavailable(makegood: Makegood) -> None:
    said = makegood("operations", "--url", "http://127.0.0.1:1", "show", ID)
    assert (said.status, said.out) == (5, "")
    assert "http://127.0.0.1:1 does not answer" in said.err


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize("url", ["127.0.0.1:8080", "http://127.0.0.1:port"])
def test_what_is_no_url_is_a_mistake(makegood: Makegood, url: str) -> None:
    assert makegood("operations", "--url", url, "show", ID).status == 2


def test_something_else_at_that_url_is_told(makegood: Makegood, service: Service) -> None:
    service.answer("GET", PATH, (200, b"<html>"))
    said = makegood("operations", "show", ID)
    assert (said.status, "is this the URL of Makegood?" in said.err) == (1, True)


def test_key_is_asked_for(makegood: Makegood) -> None:
    said = makegood("operations", "list")
    assert (said.status, "MAKEGOOD_KEY" in said.err) == (2, True)


def test_terminal_obeys_nothing_that_came_from_outside(makegood: Makegood, service: Service) -> None:
    items = [operation(why="\x1b[2Jgone\u202e")]
    service.answer("GET", "/operations", (200, {"items": items, "next_cursor": None}))
    said = makegood("operations", "list")
    assert "·[2Jgone·" in said.out
    assert "\x1b" not in said.out
