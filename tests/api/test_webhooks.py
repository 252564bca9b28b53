"""`POST /webhooks/{source}`: every row of the contract's table, and what senders send besides."""

import asyncio
import json
from datetime import timedelta
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import httpx
import pytest

from app.api import wire
from app.api.admission import Room
from app.api.edge import Edge
from app.api.webhooks import JSON, Webhooks, _answered, answer, takes, traceparent
from app.db.tables import EventStatus
from app.errors import DatabaseUnavailable
from app.intake import Receipt
from tests.api.desk import Desk
from tests.road.service import until
from tests.road.watch import STORE, watching

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def events(desk: Desk, status: str | None = None) -> list[dict[str, Any]]:
    answer = await desk.client.get("/events", params={"status": status} if status else {})
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def test_a_new_payment_is_accepted(desk: Desk) -> None:
    answer = await desk.deliver(desk.payment("pay_1"))
    id_ = str(uuid5(NAMESPACE_URL, 'makegood:["shop","pay_1"]'))
    assert answer.status_code == 202
    assert answer.json() == {"operation_id": id_, "status": "accepted"}
    assert answer.headers["location"] == f"/operations/{id_}"
    assert (await desk.shown(id_))["status"] == "pending"


async def test_a_payment_told_again_is_a_duplicate(desk: Desk) -> None:
    """Trap 33: a provider sends several events for one payment, each with an id of its own."""
    first = await desk.deliver(desk.payment("pay_1"), "msg_1")
    for delivery_id in ("msg_1", "msg_2"):
        answer = await desk.deliver(desk.payment("pay_1"), delivery_id)
        assert answer.status_code == 200
        assert answer.json() == {"operation_id": first.json()["operation_id"], "status": "duplicate"}
        assert answer.headers["location"] == first.headers["location"]
    assert [event["deliveries"] for event in await events(desk, "duplicate")] == [1]
    assert [event["deliveries"] for event in await events(desk, "accepted")] == [2]


async def test_a_known_delivery_with_another_payment_is_another_payment(desk: Desk) -> None:
    """Trap 33: deduplication by the delivery's id alone loses the second payment."""
    first = await desk.deliver(desk.payment("pay_1"), "msg_1")
    second = await desk.deliver(desk.payment("pay_2"), "msg_1")
    assert second.status_code == 202
    assert second.json()["operation_id"] != first.json()["operation_id"]


async def test_an_event_that_is_no_payment_is_ignored(desk: Desk) -> None:
    answer = await desk.deliver({"type": "customer.created", "data": {}})
    assert answer.status_code == 200
    assert answer.json() == {"status": "ignored", "event_type": "customer.created"}
    assert "location" not in answer.headers


async def test_a_payment_that_cannot_be_read_is_kept(desk: Desk) -> None:
    answer = await desk.deliver(desk.payment("pay_1", amount="19.99"))
    assert answer.status_code == 202
    said = answer.json()
    assert said.keys() == {"status", "event_id", "detail"}
    assert said["status"] == "unprocessable"
    [kept] = await events(desk, "unprocessable")
    assert (kept["id"], kept["detail"]) == (said["event_id"], said["detail"])
    assert kept["payload"]["data"]["amount"] == "19.99"


async def test_a_known_payment_with_other_facts_is_a_conflict(desk: Desk) -> None:
    """Trap 32: the old answer for a key that came with other content, or worse, the old content overwritten."""
    id_ = await desk.pay("pay_1")
    before = await desk.shown(id_)
    for other in ({"amount": 2000}, {"currency": "USD"}, {"order_id": "order-2"}):
        answer = await desk.deliver(desk.payment("pay_1", **other), "msg_2")
        assert answer.status_code == 202
        assert answer.headers["location"] == f"/operations/{id_}"
        said = answer.json()
        assert said.keys() == {"operation_id", "status", "event_id", "detail"}
        assert (said["operation_id"], said["status"]) == (id_, "conflict")
        assert said["event_id"] in {event["id"] for event in await events(desk, "conflict")}
    assert len(await events(desk, "conflict")) == 3
    assert await desk.shown(id_) == before


async def test_an_unknown_source_comes_before_everything_else(desk: Desk) -> None:
    answer = await desk.client.post("/webhooks/nobody", content=b"x" * 10_000)
    assert answer.status_code == 404
    assert answer.json()["code"] == "unknown-source"


async def test_a_body_too_large_comes_before_its_signature(desk: Desk) -> None:
    answer = await desk.client.post("/webhooks/shop", content=b"x" * 2001)
    assert answer.status_code == 413


async def test_a_body_that_announces_no_length_is_cut_off(desk: Desk) -> None:
    read = 0

    async def endless() -> Any:
        nonlocal read
        while True:
            read += 500
            yield b"x" * 500

    answer = await desk.client.post("/webhooks/shop", content=endless())
    assert answer.status_code == 413
    assert read <= 3000


async def test_a_body_of_exactly_the_limit_is_read(desk: Desk) -> None:
    body = json.dumps(desk.payment()).encode()
    assert (await desk.deliver(body + b" " * (2000 - len(body)))).status_code == 202


async def test_a_bad_signature_comes_before_the_body(desk: Desk) -> None:
    for headers in (
        {},
        {"webhook-id": "msg_1", "webhook-timestamp": "1767268800", "webhook-signature": "v1,AAAA"},
        {"webhook-id": "msg_1", "webhook-timestamp": "1", "webhook-signature": "\xff"},
    ):
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        answer = await desk.client.post("/webhooks/shop", content=b"no json", headers=raw)
        assert answer.status_code == 401
        assert answer.json()["code"] == "signature-invalid"
        assert "www-authenticate" in answer.headers
    assert await events(desk) == []


async def test_a_stale_or_early_delivery_is_refused(desk: Desk) -> None:
    body = json.dumps(desk.payment()).encode()
    signed = desk.signed(body)
    for by in (timedelta(seconds=301), timedelta(seconds=-602)):
        desk.clock.advance(by)
        answer = await desk.client.post("/webhooks/shop", content=body, headers=signed)
        assert (answer.status_code, answer.json()["code"]) == (401, "signature-invalid")


async def test_a_signature_for_other_bytes_is_refused(desk: Desk) -> None:
    signed = desk.signed(b'{"type": "payment.received"}')
    answer = await desk.client.post("/webhooks/shop", content=b'{"type":"payment.received"}', headers=signed)
    assert answer.status_code == 401


async def test_a_signed_body_that_is_not_json_is_refused(desk: Desk) -> None:
    deep = b"[" * 900 + b"]" * 900
    for body in (b"", b"{", b"NaN", b'{"type": Infinity}', b'"\xff"', deep, b'{"a": 1} x'):
        answer = await desk.deliver(body)
        assert answer.status_code == 400, body
        assert answer.json()["code"] == "malformed-body"
    assert await events(desk) == []


async def test_bad_values_are_kept_for_a_human(desk: Desk) -> None:
    bad: list[tuple[str, object]] = [
        *(("amount", value) for value in (0, -1, 2**63, 19.5, True)),
        *(("currency", value) for value in ("XXQ", None)),
        *(("payment_id", value) for value in ("", "a\x00b", "x" * 256, "\ud800")),
        ("order_id", ["order-1"]),
    ]
    for field, value in bad:
        answer = await desk.deliver(desk.payment("pay_1", **{field: value}))
        assert (answer.status_code, answer.json()["status"]) == (202, "unprocessable"), (field, value)
        assert field in answer.json()["detail"]
    assert len(await events(desk, "unprocessable")) == len(bad)


async def test_json_that_is_no_event_is_kept_for_a_human(desk: Desk) -> None:
    for body in (b"[]", b'"text"', b"null", b"{}", b'{"type": 1}', b'{"type": "a", "type": "b"}'):
        answer = await desk.deliver(body)
        assert (answer.status_code, answer.json()["status"]) == (202, "unprocessable"), body


async def test_the_largest_amount_is_taken_whole(desk: Desk) -> None:
    id_ = await desk.pay("pay_1", amount=2**63 - 1)
    assert (await desk.shown(id_))["amount"] == 2**63 - 1


async def test_the_content_type_is_not_looked_at(desk: Desk) -> None:
    for number, media_type in enumerate(("text/plain", "application/xml", "")):
        answer = await desk.deliver(desk.payment(f"pay_{number}"), headers={"Content-Type": media_type})
        assert answer.status_code == 202


async def test_nothing_is_acknowledged_while_the_database_is_away(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trap 35: a 200 for what is not on disk."""

    async def away(*_: object) -> None:
        raise DatabaseUnavailable("password of the database: hunter2")

    monkeypatch.setattr(desk.context.intake, "receive_all", away)
    answer = await desk.deliver(desk.payment())
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert "hunter2" not in answer.text


async def test_a_sender_that_goes_away_does_not_cancel_the_commit(desk: Desk, database_url: str) -> None:
    """Trap 42: a request that is cancelled in the middle of its commit takes the commit with it."""
    async with watching(database_url) as watch:
        async with watch.holding() as holding:
            await holding.execute("LOCK TABLE events IN SHARE MODE")
            request = asyncio.create_task(desk.deliver(desk.payment("pay_1")))
            await watch.until_blocked(STORE)
            request.cancel()
            await asyncio.wait({request})

        async def stored() -> bool:
            listed = await desk.client.get("/operations", params={"external_id": "pay_1"})
            return len(listed.json()["items"]) == 1

        await until(stored)
    assert request.cancelled()


async def test_a_hundred_deliveries_at_once_make_one_operation(desk: Desk) -> None:
    """Trap 34: whoever loses the race of the inserts finds no row, though there is one."""
    answers = await asyncio.gather(*(desk.deliver(desk.payment("pay_1"), f"msg_{n}") for n in range(100)))
    assert sorted(answer.status_code for answer in answers) == [200] * 99 + [202]
    assert len({answer.json()["operation_id"] for answer in answers}) == 1


async def test_a_valid_trace_is_kept(desk: Desk) -> None:
    await desk.deliver(desk.payment("pay_1"), headers={"traceparent": TRACE})
    await desk.deliver(desk.payment("pay_2"), "msg_2", headers={"traceparent": "00-zz-00-01"})
    kept = {operation.external_id: operation.traceparent for operation in await desk.claim(2)}
    assert kept == {"pay_1": TRACE, "pay_2": None}


@pytest.mark.parametrize("status", EventStatus)
@pytest.mark.parametrize("id_", [None, UUID(int=7)])
def test_the_usual_answer_is_written_as_all_others(status: EventStatus, id_: UUID | None) -> None:
    receipt = Receipt(status, UUID(int=8), id_, "paid", "why")
    code, said = answer(receipt)
    assert _answered(receipt) == (code, JSON, wire.dump(said), wire.pointing(said).get("Location"))


@pytest.mark.parametrize(
    "given", ["", TRACE[:-1], TRACE.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32), f"ff{TRACE[2:]}"]
)
def test_an_invalid_trace_is_none(given: str) -> None:
    assert traceparent({"traceparent": given}) is None


async def test_too_many_at_once_are_turned_away(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Overload is shed before memory grows: whoever has no room gets 503, and the room is given back."""
    go_on = asyncio.Event()
    receive = desk.context.intake.receive_all

    async def slow(*arguments: Any) -> Any:
        await go_on.wait()
        return await receive(*arguments)

    monkeypatch.setattr(desk.context.intake, "receive_all", slow)
    desk.app.deliveries = Edge(Webhooks(desk.context, Room(most_requests=3)))
    requests = [asyncio.create_task(desk.deliver(desk.payment(f"pay_{n}"), f"msg_{n}")) for n in range(5)]
    done, _ = await asyncio.wait(requests, return_when=asyncio.FIRST_COMPLETED, timeout=5)
    assert {task.result().status_code for task in done} == {503}
    go_on.set()
    answers: list[httpx.Response] = await asyncio.gather(*requests)
    assert sorted(answer.status_code for answer in answers) == [202, 202, 202, 503, 503]
    assert (await desk.deliver(desk.payment("pay_9"), "msg_9")).status_code == 202


@pytest.mark.parametrize(
    ("method", "path", "taken"),
    [
        ("POST", "/webhooks/shop", True),
        ("GET", "/webhooks/shop", False),
        ("POST", "/webhooks/", False),
        ("POST", "/webhooks", False),
        ("POST", "/webhooks/shop/", False),
        ("POST", "/webhooks/shop/more", False),
        ("POST", "/operations/webhooks/shop", False),
    ],
)
def test_a_delivery_is_known_by_its_method_and_path(method: str, path: str, *, taken: bool) -> None:
    assert takes({"type": "http", "method": method, "path": path}) is taken


async def test_of_a_header_that_comes_twice_the_first_counts(desk: Desk) -> None:
    """Nobody signs two of them: a second one, added on the way, must not be what is looked at."""
    body = json.dumps(desk.payment()).encode()
    signed = list(desk.signed(body).items())
    for doubled, status in (
        ([*signed, ("webhook-signature", "v1,AAAA")], 202),
        ([("webhook-signature", "v1,AAAA"), *signed], 401),
    ):
        assert (await desk.client.post("/webhooks/shop", content=body, headers=doubled)).status_code == status
