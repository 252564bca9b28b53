"""What comes again to a process that has not taken it in itself: it is young, or another process took it in."""

import pytest

from tests.intake.door import Door, opened, payment

COUNT = 4


class Stores:
    """How many payments went the way of new ones."""

    def __init__(self, door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        ingest_all = door.store.ingest_all

        async def counted(arrivals: list[object]) -> object:
            self.count += 1
            return await ingest_all(arrivals)  # type: ignore[arg-type]

        monkeypatch.setattr(door.store, "ingest_all", counted)


@pytest.fixture
async def stores(door: Door, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Stores:
    """Another process has taken some payments in; the door is that of a young one."""
    async for other in opened(database_url, 1):
        for number in range(COUNT):
            assert (await other.deliver(payment(f"pay_{number}"))).status == "accepted"
    return Stores(door, monkeypatch)


async def test_after_one_that_was_known_the_next_is_thought_to_be(door: Door, stores: Stores) -> None:
    for number in range(COUNT):
        again = await door.deliver(payment(f"pay_{number}"))
        assert (again.status, stores.count) == ("duplicate", 1)
    assert {deliveries for _, _, deliveries in await door.events()} == {2}


async def test_a_new_one_among_them_is_accepted_and_ends_the_guess(door: Door, stores: Stores) -> None:
    await door.deliver(payment("pay_0"))
    new = [await door.deliver(payment(f"new_{number}")) for number in range(2)]
    assert [one.status for one in new] == ["accepted"] * 2
    assert stores.count == 3
    assert (await door.deliver(payment("pay_1"))).status == "duplicate"
    assert stores.count == 4
    assert sorted(deliveries for _, _, deliveries in await door.events()) == [1] * 4 + [2] * 2


async def test_another_event_of_a_known_payment_and_a_contradiction_are_none_of_them(
    door: Door, stores: Stores
) -> None:
    await door.deliver(payment("pay_0"))
    other = await door.deliver(payment("pay_1"), delivery_id="msg_2")
    conflicts = [await door.deliver(payment("pay_2", amount=1)) for _ in range(2)]
    assert other.status == "duplicate"
    assert [one.status for one in conflicts] == ["conflict"] * 2
    assert conflicts[0].detail == conflicts[1].detail
    assert stores.count == 3  # the contradiction's second coming is found by the event, with what was said of it
    assert sorted(deliveries for _, _, deliveries in await door.events()) == [1] * 4 + [2] * 2


async def test_what_was_found_so_is_remembered(door: Door, stores: Stores) -> None:
    for number in range(2):
        await door.deliver(payment(f"pay_{number}"))
    await door.deliver(payment("new"))
    assert (await door.deliver(payment("pay_1"))).status == "duplicate"
    assert stores.count == 2
