"""A new operation that its process starts itself: it takes its place at once, and gives place and slot back if it may not."""

import asyncio
from typing import Any

import pytest

from app.db.claim import Claimed
from app.errors import DatabaseUnavailable
from app.saga.model import Operation, Status
from app.worker.ahead import LARGEST_EVENT, Prepared
from app.worker.claim import Start
from app.worker.lease import Lease
from tests.builders import NOW, operation_for
from tests.worker.shift import Shift, Slots, Working, settle, shift_of
from tests.worker.stage import LEASE, SaidStore, claimed


def start(shift: Shift, payment: str = "pay_1", payload: bytes = b"{}") -> Start | None:
    return shift.claimer.start_with(operation_for(payment), {"type": payment}, payload)


def started(shift: Shift, payment: str = "pay_1") -> Start:
    made = start(shift, payment)
    assert made is not None
    return made


async def idle(shift: Shift) -> None:
    """Until its first claim has found that nothing waits."""
    await shift.wakeup.next_wait()


async def test_an_operation_that_was_accepted_is_worked_on_under_the_lease_that_was_stored() -> None:
    slots = Slots()
    shift = shift_of(slots=slots)
    async with shift.running():
        await idle(shift)
        shift.may_end.clear()
        made = started(shift)
        [(operation, event)] = slots.asked
        assert event == {"type": "pay_1"}
        assert (operation.status, operation.lease, operation.attempt, operation.revision) == ("processing", 1, 1, 2)
        assert (operation.locked_by, operation.complete_by, operation.next_run_at) == ("worker-1", NOW + LEASE, None)
        assert made.claimed == Claimed(operation, Status.PENDING, b"{}")
        shift.clock.advance(LEASE / 2)
        made.landed(accepted=True)
        [held] = shift.leases._held
        assert (held.operation.id, held.number) == (operation.id, 1)
        assert held.until == 1000.0 + LEASE.total_seconds()  # counted from before it was stored
        shift.may_end.set()
        await settle()
    assert (shift.worked, slots.held, shift.claimer.places.free) == (["pay_1"], 0, 4)
    assert not shift.leases._held


async def test_one_that_was_not_accepted_gives_its_place_and_its_slot_back() -> None:
    slots = Slots()
    shift = shift_of(slots=slots)
    async with shift.running():
        await idle(shift)
        made = [started(shift, f"pay_{number}") for number in range(4)]
        assert start(shift, "pay_5") is None
        assert (slots.held, shift.claimer.places.free) == (4, 0)
        for one in made:
            one.landed(accepted=False)
        assert (slots.held, shift.claimer.places.free, shift.worked) == (0, 4, [])
        assert start(shift, "pay_5") is not None


async def test_none_is_started_before_the_first_claim_and_none_while_the_claims_come_back_full() -> None:
    """What waits to be claimed is older: a stream of new ones must not come before it for ever."""
    slots = Slots()
    backlog = [[claimed(f"old_{wave}_{number}") for number in range(4)] for wave in range(3)]
    shift = shift_of(*backlog, slots=slots)
    assert start(shift) is None
    shift.may_end.clear()
    async with shift.running():
        await settle()
        assert start(shift) is None
        shift.may_end.set()
        await idle(shift)
        assert len(shift.worked) == 12
        assert start(shift) is not None


async def test_none_is_started_while_nobody_knows_what_waits() -> None:
    """The claim has failed: what became due meanwhile comes before what is told of now."""
    slots = Slots()
    shift = shift_of([], DatabaseUnavailable("away"), slots=slots)
    async with shift.running():
        await idle(shift)
        started(shift).landed(accepted=False)
        shift.wakeup.poke()
        await idle(shift)
        assert start(shift) is None
        shift.wakeup.poke()
        await idle(shift)
        assert start(shift) is not None


async def test_no_more_are_under_way_than_there_are_places_though_a_claim_is_out_meanwhile() -> None:
    """The claim asks for free places, and new operations come before it has brought what it found for them."""
    slots = Slots()
    shift = shift_of([], [claimed("old_1"), claimed("old_2")], slots=slots, concurrency=4)
    came: list[Start | None] = []

    async def meanwhile() -> None:
        came.extend(start(shift, f"new_{number}") for number in range(4))

    async with shift.running():
        await idle(shift)
        shift.may_end.clear()
        shift.store.meanwhile = meanwhile
        shift.wakeup.poke()
        await settle()
        for one in came:
            if one is not None:
                one.landed(accepted=True)
        assert len(shift.claimer.running) == 4
        assert len([one for one in came if one is not None]) == 2
        assert shift.store.claims[1].most == 2
        shift.may_end.set()
        await settle()
    assert (slots.held, shift.claimer.places.free) == (0, 4)


@pytest.mark.parametrize(("places", "claimed_for"), [(1, 1), (2, 1), (3, 2), (4, 2)])
async def test_half_of_the_places_are_the_claims_where_nothing_is_known_to_wait(places: int, claimed_for: int) -> None:
    shift = shift_of(slots=Slots(), concurrency=places)
    async with shift.running():
        await idle(shift)
        assert shift.store.claims[-1].most == places  # the first one does not know
        assert not await shift.claimer.claim()
        assert shift.store.claims[-1].most == claimed_for
        assert shift.claimer.places.free == places


async def test_with_one_place_it_is_the_claims_or_the_new_operations() -> None:
    slots = Slots()
    shift = shift_of(slots=slots, concurrency=1)
    came: list[Start | None] = []

    async def meanwhile() -> None:
        came.append(start(shift))

    async with shift.running():
        await idle(shift)
        made = started(shift)
        assert start(shift, "pay_2") is None
        shift.wakeup.poke()
        await settle()
        assert len(shift.store.claims) == 1  # there is no place to claim for
        made.landed(accepted=True)
        shift.store.meanwhile = meanwhile
        await idle(shift)
        assert [one is None for one in came] == [True] * len(came)
        assert came
    assert (slots.held, shift.claimer.places.free, shift.worked) == (0, 1, ["pay_1"])


async def test_a_call_that_is_not_ready_a_large_event_and_the_end_leave_no_trace() -> None:
    slots = Slots(most=1)
    shift = shift_of(slots=slots)
    async with shift.running():
        await idle(shift)
        made = started(shift)
        assert start(shift, "pay_2") is None
        made.landed(accepted=False)
        asked = len(slots.asked)
        assert start(shift, "pay_3", payload=b"x" * (LARGEST_EVENT + 1)) is None
        assert len(slots.asked) == asked
        at_most = start(shift, "pay_3", payload=b"x" * LARGEST_EVENT)
        assert at_most is not None
        at_most.landed(accepted=False)
        assert (slots.held, shift.claimer.places.free) == (0, 4)
    shift.claimer._stopping = True
    assert start(shift, "pay_4") is None


async def test_one_that_lands_while_the_process_ends_is_worked_on_to_its_end() -> None:
    """Trap 8: it is on record as sent; given up, it would count as crashed."""
    slots = Slots()
    shift = shift_of(slots=slots)
    async with shift.running():
        await idle(shift)
        made = started(shift)
    made.landed(accepted=True)
    await asyncio.wait(shift.claimer.running)
    assert (shift.worked, slots.held) == (["pay_1"], 0)


async def test_work_that_breaks_gives_its_place_and_its_lease_back() -> None:
    slots = Slots()
    shift = shift_of(slots=slots, broken={"pay_1"})
    async with shift.running():
        await idle(shift)
        started(shift).landed(accepted=True)
        await settle()
    assert (slots.held, shift.claimer.places.free, shift.leases._held) == (0, 4, set())


async def test_what_a_claim_made_ready_and_did_not_take_is_given_up() -> None:
    """Another worker took it before the claim was sent again; or the claim has failed for good."""

    class Fickle(SaidStore):
        async def claim(self, wanted: Any, begin_with: Any, claimer: int = 0) -> list[Claimed]:
            for one in [claimed("pay_1"), claimed("pay_2")]:
                begin_with(one)
            found = await super().claim(wanted, lambda _: None, claimer)
            return found

    slots = Slots()
    store = Fickle([[claimed("pay_2")], DatabaseUnavailable("away")])
    shift = Working(store, make_ready=slots.make_ready)
    async with shift.running():
        await idle(shift)
        assert (shift.worked, slots.held) == (["pay_2"], 0)
        shift.wakeup.poke()
        await idle(shift)
        assert slots.held == 0
        assert shift.claimer.places.free == 4


async def test_a_claim_hands_each_call_to_its_own_operation() -> None:
    slots = Slots()
    shift = shift_of([claimed("pay_1"), claimed("pay_2")], slots=slots)
    handed: dict[str, bool] = {}
    work = shift.work

    async def noting(one: Claimed, lease: Lease, prepared: Prepared | None) -> Operation | None:
        handed[one.operation.external_id] = prepared is not None
        return await work(one, lease, prepared)

    shift.claimer._work = noting
    slots.most = 1
    async with shift.running():
        await idle(shift)
    assert handed == {"pay_1": True, "pay_2": False}
    assert slots.held == 0
