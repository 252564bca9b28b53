"""The supplier keeps its promises, the bad ones too."""

import asyncio

import httpx
import pytest

from app.saga.model import Action
from app.sandbox import Deed, Supplier, Turn, Ware


async def buy(shop: httpx.AsyncClient, order: str, number: str = "op-1", ware: str = "purchases") -> httpx.Response:
    wish = {"id": number, "order": order, "amount": 1999}
    return await shop.post(f"/{ware}", json=wish, headers={"Idempotency-Key": f"{number}:{ware}:do"})


async def cancel(shop: httpx.AsyncClient, number: str = "op-1", ware: str = "purchases") -> httpx.Response:
    return await shop.post(f"/{ware}/{number}/cancel", headers={"Idempotency-Key": f"{number}:{ware}:undo"})


async def test_same_key_buys_once_and_hears_the_same_answer(supplier: Supplier, shop: httpx.AsyncClient) -> None:
    first, second = await buy(shop, "order-1"), await buy(shop, "order-1")
    assert (first.status_code, first.json()) == (200, second.json())
    assert first.json()["status"] == "confirmed"
    assert len(supplier.ledger.of(Deed.BOUGHT)) == 1


async def test_same_key_with_another_body_is_refused(supplier: Supplier, shop: httpx.AsyncClient) -> None:
    await buy(shop, "order-1")
    other = {"id": "op-1", "order": "order-1", "amount": 2}
    answer = await shop.post("/purchases", json=other, headers={"Idempotency-Key": "op-1:purchases:do"})
    assert answer.status_code == 422
    assert len(supplier.ledger.entries) == 1


async def test_request_without_a_key_is_refused(supplier: Supplier, shop: httpx.AsyncClient) -> None:
    answer = await shop.post("/purchases", json={"id": "op-1", "order": "order-1", "amount": 1})
    assert answer.status_code == 400
    assert supplier.ledger.entries == []


@pytest.mark.parametrize(
    ("order", "statuses", "bought"),
    [
        ("order-1-refused", [422, 422], 0),
        ("order-1-sold-out", [410, 410], 0),
        ("order-1-busy", [503, 200], 1),
        ("order-1-down", [500, 500], 0),
        ("order-1-down-bought", [500, 500], 1),
        ("trip-1-hotel-refused", [200, 200], 1),
    ],
)
async def test_orders_meet_the_manners_they_name(
    supplier: Supplier, shop: httpx.AsyncClient, order: str, statuses: list[int], bought: int
) -> None:
    answers = [await buy(shop, order), await buy(shop, order)]
    assert [answer.status_code for answer in answers] == statuses
    assert len(supplier.ledger.of(Deed.BOUGHT)) == bought


async def test_busy_supplier_says_when_to_come_back(shop: httpx.AsyncClient) -> None:
    assert (await buy(shop, "order-1-busy")).headers["Retry-After"] == "1"


async def test_hotel_refuses_where_the_flight_does_not(supplier: Supplier, shop: httpx.AsyncClient) -> None:
    flight = await buy(shop, "trip-1-hotel-refused", ware="flights")
    hotel = await buy(shop, "trip-1-hotel-refused", ware="hotels")
    assert (flight.status_code, hotel.status_code) == (200, 422)
    assert [entry.ware for entry in supplier.ledger.entries] == ["flight"]


async def test_lost_answer_is_a_broken_connection_and_a_purchase(supplier: Supplier, shop: httpx.AsyncClient) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        await buy(shop, "order-1-lost")
    assert supplier.ledger.stands("purchase", "op-1")
    assert (await buy(shop, "order-1-lost")).json()["status"] == "confirmed"
    assert len(supplier.ledger.of(Deed.BOUGHT)) == 1


async def test_late_answer_comes_after_the_caller_has_gone(supplier: Supplier, shop: httpx.AsyncClient) -> None:
    supplier.desk.script("order-1", Ware.PURCHASE, Action.DO, [Turn(late=True), Turn()])
    held = supplier.desk.hold("order-1", Ware.PURCHASE, Action.DO)
    calling = asyncio.create_task(buy(shop, "order-1"))
    await held.arrived.wait()
    assert (await buy(shop, "order-1")).status_code == 409
    calling.cancel()
    assert supplier.ledger.entries == []
    held.released.set()
    async with asyncio.timeout(5):
        await supplier.ledger.until(lambda ledger: ledger.stands("purchase", "op-1"))
    assert (await buy(shop, "order-1")).status_code == 200


async def test_late_order_is_answered_late_by_itself(supplier: Supplier, shop: httpx.AsyncClient) -> None:
    assert (await buy(shop, "order-1-late")).elapsed.total_seconds() >= 0.05
    assert supplier.ledger.stands("purchase", "op-1")


async def test_sending_is_held_after_it_was_carried_out(supplier: Supplier, shop: httpx.AsyncClient) -> None:
    held = supplier.desk.hold("order-1", Ware.PURCHASE, Action.DO, after=True)
    calling = asyncio.create_task(buy(shop, "order-1"))
    await held.arrived.wait()
    assert supplier.ledger.stands("purchase", "op-1")
    held.released.set()
    assert (await calling).status_code == 200


async def test_cancel_is_idempotent_and_final(supplier: Supplier, shop: httpx.AsyncClient) -> None:
    await buy(shop, "order-1")
    answers = [await cancel(shop), await cancel(shop)]
    assert [answer.json()["status"] for answer in answers] == ["cancelled", "cancelled"]
    assert not supplier.ledger.stands("purchase", "op-1")
    again = {"id": "op-1", "order": "order-1", "amount": 1}
    assert (await shop.post("/purchases", json=again, headers={"Idempotency-Key": "new"})).status_code == 410
    assert [entry.deed for entry in supplier.ledger.entries] == [Deed.BOUGHT, Deed.CANCELLED]


async def test_cancel_before_the_purchase_leaves_a_tombstone(supplier: Supplier, shop: httpx.AsyncClient) -> None:
    assert (await cancel(shop)).status_code == 404
    assert (await buy(shop, "order-1")).status_code == 410
    assert supplier.ledger.entries == []


async def test_lookup_tells_what_became_of_a_purchase(shop: httpx.AsyncClient) -> None:
    unknown = await shop.get("/purchases/op-1")
    await buy(shop, "order-1")
    confirmed = await shop.get("/purchases/op-1")
    await cancel(shop)
    cancelled = await shop.get("/purchases/op-1")
    assert unknown.status_code == 404
    assert [confirmed.json()["status"], cancelled.json()["status"]] == ["confirmed", "cancelled"]


async def test_unreturnable_purchase_refuses_its_cancel(supplier: Supplier, shop: httpx.AsyncClient) -> None:
    await buy(shop, "order-1-unreturnable")
    assert (await cancel(shop)).status_code == 422
    assert supplier.ledger.stands("purchase", "op-1")


async def test_ledger_and_visits_can_be_read(supplier: Supplier, shop: httpx.AsyncClient) -> None:
    await buy(shop, "order-1")
    shown = (await shop.get("/ledger")).json()["entries"]
    assert [(entry["deed"], entry["order_id"], entry["amount"]) for entry in shown] == [("bought", "order-1", 1999)]
    assert [(visit.action, visit.key) for visit in supplier.desk.visits] == [("do", "op-1:purchases:do")]


async def test_unknown_shelf_is_no_way_in(shop: httpx.AsyncClient) -> None:
    assert (await buy(shop, "order-1", ware="ships")).status_code == 422
