"""What becomes of a delivery below the HTTP layer: each row of the contract's table."""

import asyncio
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import pytest

from app.db.operations import Begun
from app.errors import DatabaseUnavailable
from app.identity import operation_id
from app.saga.model import Operation
from tests.db.starts import SaidStart, begun_of
from tests.intake.door import BROKEN, SHOP, Door, payment


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


async def test_with_several_buckets_a_payment_is_one_operation(wide_door: Door) -> None:
    payments = [payment(f"pay_{number % 20}") for number in range(100)]
    receipts = await asyncio.gather(*(wide_door.deliver(one) for one in payments))
    assert sorted(one.status for one in receipts) == ["accepted"] * 20 + ["duplicate"] * 80
    assert await wide_door.operations() == 20
    conflict = await wide_door.deliver(payment("pay_7", amount=1))
    assert (conflict.status, conflict.operation_id) == ("conflict", operation_id("shop", "pay_7"))


class Starts:
    """What starts new operations: asked, it says no, or makes a start that remembers what it is told."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any, bytes]] = []
        self.made: list[SaidStart] = []
        self.willing = True
        self.make: Callable[[Begun], SaidStart] = SaidStart

    async def ready(self) -> None:
        """There is always a place."""

    def start_with(self, operation: Operation, event: Any, payload: bytes) -> SaidStart | None:
        self.asked.append((operation.external_id, event, payload))
        if not self.willing:
            return None
        self.made.append(self.make(begun_of(operation)))
        return self.made[-1]


@dataclass
class CallingStart(SaidStart):
    """A start whose call is a task of its own, as a worker's."""

    call: Callable[[], None] = field(kw_only=True)

    def landed(self, *, accepted: bool) -> None:
        """It goes out."""
        super().landed(accepted=accepted)
        self.call()


@pytest.fixture
def starts(door: Door) -> Starts:
    """The door is that of a process which works."""
    starts = Starts()
    door.intake._starter = starts
    return starts


async def test_what_is_started_as_it_is_stored_wakes_nobody(door: Door, starts: Starts) -> None:
    receipt = await door.deliver(payment())
    assert receipt.status == "accepted"
    [start] = starts.made
    assert start.told == [True]
    assert starts.asked == [("pay_1", payment(), json.dumps(payment()).encode())]
    assert not door.wakeup._due.is_set()
    assert await door.database.fetchval("SELECT status FROM operations") == "processing"


async def test_what_is_not_started_wakes_the_workers(door: Door, starts: Starts) -> None:
    starts.willing = False
    assert (await door.deliver(payment())).status == "accepted"
    assert door.wakeup._due.is_set()
    assert await door.database.fetchval("SELECT status FROM operations") == "pending"


async def test_a_payment_alone_is_started_and_a_known_one_is_told_no(door: Door, starts: Starts) -> None:
    for body in (payment(amount="19.99"), {"type": "customer.created"}):
        await door.deliver(body)
    assert starts.asked == []
    await door.deliver(payment())
    await door.deliver(payment(), delivery_id="msg_2")
    await door.deliver(payment(amount=1), delivery_id="msg_3")
    assert [start.told for start in starts.made] == [[True], [False], [False]]
    assert not door.wakeup._due.is_set()


async def test_an_event_that_is_read_again_is_claimed(door: Door, starts: Starts) -> None:
    kept = await door.deliver(payment(), BROKEN)
    assert (await door.again(kept.event_id)).status == "accepted"
    assert starts.asked == []
    assert door.wakeup._due.is_set()


async def test_the_sender_is_answered_before_the_call_goes_out(door: Door, starts: Starts) -> None:
    order: list[str] = []

    async def call() -> None:
        order.append("called")

    async def deliver() -> None:
        await door.deliver(payment())
        order.append("answered")

    calls: list[asyncio.Task[None]] = []
    starts.make = partial(CallingStart, call=lambda: calls.append(asyncio.create_task(call())))
    await asyncio.create_task(deliver())
    await asyncio.gather(*calls)
    assert order == ["answered", "called"]
