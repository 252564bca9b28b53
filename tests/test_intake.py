"""What becomes of a delivery below the HTTP layer: each row of the contract's table, and reading a kept event again."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import asyncpg
import pytest

from app import providers
from app.db import schema
from app.db.engine import connect, create
from app.db.rows import bucket_of
from app.db.sagas import Sagas
from app.db.store import Store
from app.db.wakeup import Wakeup
from app.errors import DatabaseUnavailable, InvalidRequest, NotAllowed, NotFound
from app.intake import Intake, Receipt, operation_id
from app.providers import Delivery
from app.providers.reading import read
from app.settings import Source
from tests.builders import FixedClock, purchase_saga

FIELDS = providers.provider("standard-webhooks").default_fields
SHOP = Source(
    name="shop",
    provider="standard-webhooks",
    secrets=(),
    saga="purchase",
    tolerance=timedelta(minutes=5),
    identity="shop",
    fields=FIELDS,
)
# As it stood before the configuration was mended: it looks for the order where this sender has none.
BROKEN = replace(SHOP, fields=replace(FIELDS, order_id="data.order.id"))


@dataclass
class Door:
    """An intake, and what a test delivers to it."""

    intake: Intake
    store: Store
    database: "asyncpg.Connection[Any]"
    wakeup: Wakeup

    async def deliver(self, body: dict[str, Any], source: Source = SHOP, delivery_id: str | None = "msg_1") -> Receipt:
        """A verified delivery."""
        raw = json.dumps(body).encode()
        return await self.intake.receive(source, read(source, Delivery(delivery_id), raw), raw)

    async def again(self, event: UUID, source: Source = SHOP) -> Receipt:
        """An operator has a kept event read again."""
        return await self.intake.reprocess({source.name: source}, event)

    async def events(self) -> list[tuple[str, str, int]]:
        """All that was stored, by their times and ids: (id, status, deliveries)."""
        rows = await self.database.fetch("SELECT id, status, deliveries FROM events ORDER BY received_at, status, id")
        return [(str(row["id"]), row["status"], row["deliveries"]) for row in rows]

    async def operations(self) -> int:
        """How many there are."""
        return int(await self.database.fetchval("SELECT count(*) FROM operations"))


async def opened(url: str, buckets: int) -> AsyncIterator[Door]:
    engine = create(url, 4)
    store = Store(url, buckets, FixedClock())
    database = await connect(url)
    wakeup = Wakeup(url)
    intake = Intake(engine, store, Sagas(engine, {}), {"purchase": purchase_saga()}, FixedClock(), wakeup)
    yield Door(intake, store, database, wakeup)
    await store.close()
    await database.close()
    await engine.dispose()


@pytest.fixture
async def door(database_url: str) -> AsyncIterator[Door]:
    async for door in opened(database_url, 1):
        yield door


@pytest.fixture
async def wide_door(bare_database_url: str) -> AsyncIterator[Door]:
    """On a database that was made with four buckets."""
    await schema.upgrade(bare_database_url, buckets=4)
    async for door in opened(bare_database_url, 4):
        yield door


def payment(payment_id: Any = "pay_1", **data: Any) -> dict[str, Any]:
    told = {"payment_id": payment_id, "order_id": "order-1", "amount": 1999, "currency": "EUR", **data}
    return {"type": "payment.received", "data": told}


@pytest.mark.parametrize(
    ("identity", "external_id", "spelled"),
    [
        ("shop", "pay_1", 'makegood:["shop","pay_1"]'),
        ("shop", "4711", 'makegood:["shop","4711"]'),
        ("läden", "zahlung-ü☕\u2028/", 'makegood:["läden","zahlung-ü☕\u2028/"]'),
        ("shop", 'a"b\\c', 'makegood:["shop","a\\"b\\\\c"]'),
    ],
)
def test_anyone_can_compute_the_id_of_an_operation(identity: str, external_id: str, spelled: str) -> None:
    by_hand = bytearray(hashlib.sha1(NAMESPACE_URL.bytes + spelled.encode(), usedforsecurity=False).digest()[:16])
    by_hand[6] = by_hand[6] & 0x0F | 0x50  # version 5
    by_hand[8] = by_hand[8] & 0x3F | 0x80  # the variant of RFC 9562
    assert operation_id(identity, external_id) == UUID(bytes=bytes(by_hand)) == uuid5(NAMESPACE_URL, spelled)


async def test_a_new_payment_is_accepted_and_wakes_the_workers(door: Door) -> None:
    receipt = await door.deliver(payment())
    assert receipt.status == "accepted"
    assert receipt.operation_id == uuid5(NAMESPACE_URL, 'makegood:["shop","pay_1"]')
    assert await door.events() == [(str(receipt.event_id), "accepted", 1)]
    async with asyncio.timeout(1):
        await door.wakeup.wait(60)


async def test_an_integer_id_is_its_decimal_text(door: Door) -> None:
    receipt = await door.deliver(payment(4711))
    assert receipt.operation_id == uuid5(NAMESPACE_URL, 'makegood:["shop","4711"]')
    assert (await door.deliver(payment("4711"), delivery_id="msg_2")).status == "duplicate"


async def test_a_redelivery_is_the_same_event_and_another_event_of_the_payment_is_not(door: Door) -> None:
    """Trap 33: a second event of a known payment has an id of its own, and makes no second operation."""
    first = await door.deliver(payment())
    again = await door.deliver({**payment(), "attempt": 2})  # other bytes, the same delivery of the same payment
    other = await door.deliver(payment(), delivery_id="msg_2")
    assert [one.status for one in (again, other)] == ["duplicate", "duplicate"]
    assert {one.operation_id for one in (first, again, other)} == {first.operation_id}
    assert first.event_id == again.event_id != other.event_id
    assert sorted(deliveries for _, _, deliveries in await door.events()) == [1, 2]
    assert await door.operations() == 1


async def test_a_known_delivery_with_another_payment_in_it_is_another_payment(door: Door) -> None:
    """Trap 33: the delivery's id is a hint; the payment's own id alone says which payment it is."""
    first, second = await door.deliver(payment("pay_1")), await door.deliver(payment("pay_2"))
    assert (first.status, second.status) == ("accepted", "accepted")
    assert first.operation_id != second.operation_id


async def test_an_event_that_is_no_payment_is_ignored_once(door: Door) -> None:
    first = await door.deliver({"type": "customer.created"})
    again = await door.deliver({"type": "customer.created"})
    assert (first.status, first.event_type, first.operation_id) == ("ignored", "customer.created", None)
    assert await door.events() == [(str(again.event_id), "ignored", 2)]


async def test_what_cannot_be_read_as_a_payment_is_kept_once(door: Door) -> None:
    first, again = await door.deliver(payment(amount="19.99")), await door.deliver(payment(amount="19.99"))
    assert (first.status, first.operation_id) == ("unprocessable", None)
    assert first.detail is not None
    assert first.detail.startswith("amount (data.amount)")
    assert await door.events() == [(str(again.event_id), "unprocessable", 2)]


@pytest.mark.parametrize("changed", [{"order_id": "order-2"}, {"amount": 2999}, {"currency": "USD"}])
async def test_a_known_payment_that_says_something_else_is_a_conflict(door: Door, changed: dict[str, Any]) -> None:
    """Trap 32: it is kept for a human, and the operation is untouched; a redelivery of it is the same conflict."""
    first = await door.deliver(payment())
    before = await door.database.fetchrow("SELECT * FROM operations")
    conflicts = [await door.deliver(payment(**changed)) for _ in range(2)]
    assert [one.status for one in conflicts] == ["conflict"] * 2
    assert {one.operation_id for one in conflicts} == {first.operation_id}
    assert len({one.event_id for one in conflicts}) == 1
    assert await door.database.fetchrow("SELECT * FROM operations") == before


async def test_the_largest_amount_is_kept_exactly(door: Door) -> None:
    await door.deliver(payment(amount=2**63 - 1))
    assert await door.database.fetchval("SELECT amount FROM operations") == 2**63 - 1
    assert (await door.deliver(payment("pay_2", amount=2**63))).status == "unprocessable"


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "yesterday", 1e300])
async def test_a_time_that_is_none_does_not_spoil_the_payment(door: Door, time: Any) -> None:
    """The first is what Go and .NET write for "no time"; a database keeps the two ends of the calendar as infinities."""
    assert (await door.deliver({**payment(), "timestamp": time})).status == "accepted"
    assert await door.database.fetchval("SELECT occurred_at FROM operations") is None


async def test_two_sources_may_have_the_same_payment_id(door: Door) -> None:
    first = await door.deliver(payment())
    second = await door.deliver(payment(), replace(SHOP, name="club", identity="club"))
    assert (first.status, second.status) == ("accepted", "accepted")
    assert first.operation_id != second.operation_id


async def test_a_source_that_was_renamed_and_kept_its_identity_knows_its_payments(door: Door) -> None:
    first = await door.deliver(payment())
    again = await door.deliver(payment(), replace(SHOP, name="store"))
    assert (again.status, again.operation_id, again.event_id) == ("duplicate", first.operation_id, first.event_id)


async def test_what_the_database_does_not_take_is_not_acknowledged(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trap 35: an answer that is no answer."""

    async def away(_arrivals: object) -> None:
        raise DatabaseUnavailable("away")

    await door.deliver(payment("pay_0"))
    monkeypatch.setattr(door.store, "ingest_all", away)
    with pytest.raises(DatabaseUnavailable):
        await door.deliver(payment())
    assert await door.operations() == 1


async def test_an_unprocessable_event_is_read_again_once_the_configuration_is_mended(door: Door) -> None:
    """It keeps its id and its deliveries, and takes the status that the webhook would have."""
    kept = await door.deliver(payment(), BROKEN)
    await door.deliver(payment(), BROKEN)
    assert kept.status == "unprocessable"
    receipt = await door.again(kept.event_id)
    assert (receipt.status, receipt.event_id) == ("accepted", kept.event_id)
    assert receipt.operation_id == operation_id("shop", "pay_1")
    assert await door.events() == [(str(kept.event_id), "accepted", 2)]
    operation = await door.store.load(operation_id("shop", "pay_1"))
    assert operation is not None
    assert operation.event_id == kept.event_id
    assert (await door.deliver(payment())).status == "duplicate"
    with pytest.raises(NotAllowed, match="accepted"):
        await door.again(kept.event_id)


async def test_an_event_that_was_no_payment_after_all_is_ignored_then(door: Door) -> None:
    kept = await door.deliver(payment(), BROKEN)
    mended = replace(SHOP, fields=replace(FIELDS, payment_events=frozenset({"payment.captured"})))
    receipt = await door.again(kept.event_id, mended)
    assert (receipt.status, receipt.event_id, receipt.event_type) == ("ignored", kept.event_id, "payment.received")
    assert await door.events() == [(str(kept.event_id), "ignored", 1)]


async def test_a_conflict_that_is_none_any_more_becomes_a_duplicate(door: Door) -> None:
    """The configuration read the amount where the sender writes the fee."""
    by_fee = replace(SHOP, fields=replace(FIELDS, amount="data.fee"))
    await door.deliver(payment())
    kept = await door.deliver(payment(fee=20), by_fee)
    assert kept.status == "conflict"
    assert (await door.again(kept.event_id, by_fee)).status == "conflict"
    receipt = await door.again(kept.event_id)
    assert (receipt.status, receipt.event_id) == ("duplicate", kept.event_id)
    assert {(id_, status) for id_, status, _ in await door.events()} >= {(str(kept.event_id), "duplicate")}


async def test_of_two_operators_who_have_an_event_read_again_at_once_one_does(door: Door) -> None:
    kept = await door.deliver(payment(), BROKEN)
    both = await asyncio.gather(door.again(kept.event_id), door.again(kept.event_id), return_exceptions=True)
    statuses = [one.status for one in both if isinstance(one, Receipt)]
    assert statuses == ["accepted"]
    assert sum(isinstance(one, NotAllowed) for one in both) == 1
    assert await door.operations() == 1


async def test_an_event_is_read_again_after_its_payment_came_by_another_one(door: Door) -> None:
    """The sender told once more after the configuration was mended; the kept event is only one of two then."""
    kept = await door.deliver(payment(), BROKEN)
    accepted = await door.deliver(payment(), delivery_id="msg_2")
    receipt = await door.again(kept.event_id)
    assert (receipt.status, receipt.operation_id) == ("duplicate", accepted.operation_id)
    assert await door.operations() == 1


async def test_what_still_cannot_be_read_stays_as_it_is(door: Door) -> None:
    kept = await door.deliver(payment(), BROKEN)
    with pytest.raises(InvalidRequest, match=r"order_id \(data\.order\.id\) is missing"):
        await door.again(kept.event_id, BROKEN)
    assert await door.events() == [(str(kept.event_id), "unprocessable", 1)]


async def test_an_event_of_a_source_that_was_renamed_is_read_by_its_new_name(door: Door) -> None:
    kept = await door.deliver(payment(), BROKEN)
    receipt = await door.again(kept.event_id, replace(SHOP, name="store"))
    assert (receipt.status, receipt.operation_id) == ("accepted", operation_id("shop", "pay_1"))


async def test_an_event_of_a_source_that_is_gone_and_one_that_never_was(door: Door) -> None:
    kept = await door.deliver(payment(), BROKEN)
    with pytest.raises(NotAllowed, match='"shop" is not configured any more'):
        await door.again(kept.event_id, replace(SHOP, name="club", identity="club"))
    with pytest.raises(NotFound):
        await door.again(UUID(int=1))


async def test_with_several_buckets_an_event_lies_with_its_operation_also_when_it_was_read_again(
    wide_door: Door,
) -> None:
    kept = [await wide_door.deliver(payment(f"pay_{number}"), BROKEN) for number in range(12)]
    receipts = [await wide_door.again(one.event_id) for one in kept]
    assert [(one.status, one.event_id) for one in receipts] == [("accepted", one.event_id) for one in kept]
    rows = await wide_door.database.fetch("SELECT bucket, id, operation_id FROM events")
    assert sorted(row["id"] for row in rows) == sorted(one.event_id for one in kept)
    assert all(row["bucket"] == bucket_of(row["operation_id"], 4) for row in rows)
    assert {row["bucket"] for row in rows} == {0, 1, 2, 3}
    moved = [one for one in kept if bucket_of(one.event_id, 4) != bucket_of(operation_of(one, receipts), 4)]
    assert moved  # some were in another bucket before


def operation_of(kept: Receipt, receipts: list[Receipt]) -> UUID:
    [found] = [one.operation_id for one in receipts if one.event_id == kept.event_id]
    assert found is not None
    return found


async def test_with_several_buckets_a_payment_is_one_operation(wide_door: Door) -> None:
    payments = [payment(f"pay_{number % 20}") for number in range(100)]
    receipts = await asyncio.gather(*(wide_door.deliver(one) for one in payments))
    assert sorted(one.status for one in receipts) == ["accepted"] * 20 + ["duplicate"] * 80
    assert await wide_door.operations() == 20
    conflict = await wide_door.deliver(payment("pay_7", amount=1))
    assert (conflict.status, conflict.operation_id) == ("conflict", operation_id("shop", "pay_7"))
