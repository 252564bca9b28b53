"""What was delivered, and reading one again."""

from dataclasses import replace
from typing import Any

from tests.api.desk import Desk

UNKNOWN = "9c2a4d0e-5b1f-5e0a-8f4e-3a3f5a7d9b61"


async def listed(desk: Desk, **query: Any) -> list[dict[str, Any]]:
    answer = await desk.client.get("/events", params=query)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def unreadable(desk: Desk, external_id: str = "pay_1") -> str:
    answer = await desk.deliver(desk.payment(external_id, order_id=None, reference="order-7"), f"msg_{external_id}")
    assert answer.json()["status"] == "unprocessable"
    return str(answer.json()["event_id"])


def mend(desk: Desk) -> None:
    """The configuration finds the order where the sender writes it."""
    source = desk.context.settings.sources["shop"]
    source = replace(source, fields=replace(source.fields, order_id="data.reference"))
    settings = replace(desk.context.settings, sources={"shop": source})
    desk.app.take_deliveries(replace(desk.context, settings=settings))


async def test_an_event_is_shown_as_the_contract_spells_it(desk: Desk) -> None:
    id_ = await desk.pay("pay_1")
    [event] = await listed(desk)
    assert event == {
        "id": event["id"],
        "source": "shop",
        "delivery_id": "msg_pay_1",
        "external_id": "pay_1",
        "deliveries": 1,
        "status": "accepted",
        "detail": None,
        "operation_id": id_,
        "received_at": "2026-01-01T12:00:00Z",
        "payload": desk.payment("pay_1"),
    }


async def test_events_are_filtered_and_paged(desk: Desk) -> None:
    await desk.pay("pay_1")
    await desk.deliver({"type": "other"}, "msg_2")
    await unreadable(desk, "pay_3")
    assert {event["status"] for event in await listed(desk, status=["ignored", "accepted"])} == {"ignored", "accepted"}
    assert await listed(desk, source="nobody") == []
    seen, query = [], {"limit": "1"}
    while True:
        page = (await desk.client.get("/events", params=query)).json()
        seen += [event["id"] for event in page["items"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert len(seen) == len(set(seen)) == 3
    for bad in ("limit=0", "cursor=x", "status=held", "type=x", "source="):
        assert (await desk.client.get(f"/events?{bad}")).status_code == 422, bad
    of_operations = (await desk.client.get("/operations?limit=1")).json()["next_cursor"]
    assert of_operations is None


async def test_a_strange_payload_is_shown_all_the_same(desk: Desk) -> None:
    """Lone surrogates, NUL and integers beyond 64 bits are JSON, and some sender will send them."""
    body = b'{"type": "a", "surrogate": "\\ud800", "nul": "\\u0000", "large": 123456789012345678901234567890}'
    assert (await desk.deliver(body)).json()["status"] == "ignored"
    answer = await desk.client.get("/events")
    assert b'"\\ud800"' in answer.content
    assert answer.json()["items"][0]["payload"]["large"] == 123456789012345678901234567890


async def test_an_event_is_read_again_after_the_configuration_was_mended(desk: Desk) -> None:
    event = await unreadable(desk)
    still = await desk.client.post(f"/events/{event}/reprocess")
    assert (still.status_code, still.json()["code"]) == (422, "invalid-request")
    mend(desk)
    answer = await desk.client.post(f"/events/{event}/reprocess", headers={"Idempotency-Key": "k-1"})
    assert (answer.status_code, answer.json()["status"]) == (202, "accepted")
    id_ = answer.json()["operation_id"]
    assert answer.headers["location"] == f"/operations/{id_}"
    assert (await desk.shown(id_))["order_id"] == "order-7"
    assert [event["status"] for event in await listed(desk)] == ["accepted"]
    again = await desk.client.post(f"/events/{event}/reprocess", headers={"Idempotency-Key": "k-1"})
    assert (again.status_code, again.json()) == (202, answer.json())
    assert "idempotent-replayed" in again.headers
    assert (await desk.client.post(f"/events/{event}/reprocess")).status_code in {404, 409}


async def test_a_conflict_that_is_still_one_is_answered_as_one(desk: Desk) -> None:
    id_ = await desk.pay("pay_1")
    conflict = (await desk.deliver(desk.payment("pay_1", amount=5), "msg_2")).json()["event_id"]
    answer = await desk.client.post(f"/events/{conflict}/reprocess")
    assert (answer.status_code, answer.json()["status"]) == (202, "conflict")
    assert answer.json()["operation_id"] == id_


async def test_other_events_are_not_read_again(desk: Desk) -> None:
    await desk.pay("pay_1")
    [event] = await listed(desk)
    assert (await desk.client.post(f"/events/{event['id']}/reprocess")).status_code == 409
    for unknown in (UNKNOWN, "1"):
        assert (await desk.client.post(f"/events/{unknown}/reprocess")).status_code == 404
    assert (await desk.client.post(f"/events/{event['id']}/reprocess", json={"x": 1})).status_code == 422
