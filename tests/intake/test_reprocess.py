"""A kept event is read again: once the configuration is mended, and wherever it lies."""

import asyncio
from dataclasses import replace
from uuid import UUID

import pytest

from app.db.rows import bucket_of
from app.errors import InvalidRequest, NotAllowed, NotFound
from app.identity import operation_id
from app.intake import Receipt
from tests.intake.door import BROKEN, FIELDS, SHOP, Door, payment


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
    its = await door.database.fetchval("SELECT id FROM events WHERE operation_serial = $1", operation.serial)
    assert its == kept.event_id
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
    rows = await wide_door.database.fetch(
        "SELECT e.bucket, e.id, o.id AS operation_id FROM events AS e JOIN operations AS o ON o.serial = e.operation_serial"
    )
    assert sorted(row["id"] for row in rows) == sorted(one.event_id for one in kept)
    assert all(row["bucket"] == bucket_of(row["operation_id"], 4) for row in rows)
    assert {row["bucket"] for row in rows} == {0, 1, 2, 3}
    moved = [one for one in kept if bucket_of(one.event_id, 4) != bucket_of(operation_of(one, receipts), 4)]
    assert moved  # some were in another bucket before


def operation_of(kept: Receipt, receipts: list[Receipt]) -> UUID:
    [found] = [one.operation_id for one in receipts if one.event_id == kept.event_id]
    assert found is not None
    return found
