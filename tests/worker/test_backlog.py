"""More is due than there is room for: it is claimed in batches worth their cost, and nothing is asked for in vain."""

import asyncio
from typing import Any

import pytest

from app.db.claim import Claimed
from app.errors import DatabaseUnavailable
from app.saga.model import Operation
from app.worker import places
from app.worker.ahead import Prepared
from app.worker.lease import Lease
from tests.worker.shift import Slots, Working, settle
from tests.worker.stage import SaidStore, claimed


@pytest.mark.parametrize("buckets", [1, 3])
async def test_a_backlog_is_worked_off_in_claims_worth_their_cost(
    buckets: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Places come free one by one; a claim for each would cost as much as one for many."""
    monkeypatch.setattr(places, "LONGEST_GATHERING", 10.0)
    ready = asyncio.Semaphore(0)

    class OneByOne(Working):
        async def work(self, one: Claimed, lease: Lease, prepared: Prepared | None) -> Operation | None:
            await ready.acquire()
            return await super().work(one, lease, prepared)

    class Endless(SaidStore):
        async def claim(self, wanted: Any, begin_with: Any, claimer: int = 0) -> list[Claimed]:
            number = len(self.claims)
            self.due = [[claimed(f"pay_{number}_{place}") for place in range(wanted.most)]]
            return await super().claim(wanted, begin_with, claimer)

    slots = Slots()
    store = Endless(buckets=buckets)
    shift = OneByOne(store, make_ready=slots.make_ready, concurrency=16)
    async with shift.running():
        await settle()
        for _ in range(32):
            ready.release()
            await settle()
    assert [wanted.most for wanted in store.claims] == [16] + [4] * 8
    assert len(shift.worked) == 32


async def test_a_few_free_places_are_filled_after_a_moment_and_nothing_is_asked_for_while_none_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The others may take a minute; a loop that claims again and again for no place would keep the process busy."""
    monkeypatch.setattr(places, "LONGEST_GATHERING", 0.0)
    ends = {f"pay_{number}": asyncio.Event() for number in range(18)}

    class Slow(Working):
        async def work(self, one: Claimed, lease: Lease, prepared: Prepared | None) -> Operation | None:
            await ends[one.operation.external_id].wait()
            return await super().work(one, lease, prepared)

    waves = [[claimed(f"pay_{number}") for number in range(16)], [claimed("pay_16")], [claimed("pay_17")]]
    slots = Slots()
    shift = Slow(SaidStore([*waves]), make_ready=slots.make_ready, concurrency=16)
    rounds, claim_once = 0, shift.claimer.claim

    async def counted() -> bool | None:
        nonlocal rounds
        rounds += 1
        return await claim_once()

    monkeypatch.setattr(shift.claimer, "claim", counted)
    async with shift.running():
        await settle()
        assert [wanted.most for wanted in shift.store.claims] == [16]
        for payment in ("pay_3", "pay_7"):
            ends[payment].set()
            await settle()
        assert [wanted.most for wanted in shift.store.claims] == [16, 1, 1]
        for event in ends.values():
            event.set()
        await shift.wakeup.next_wait()
    assert len(shift.worked) == 18
    assert shift.store.claims[-1].most == 16
    assert rounds == len(shift.store.claims) == 4


async def test_a_large_claim_is_made_by_two_claimers_side_by_side() -> None:
    """While the one is on its way to the disk, the calls of the other are made ready."""
    halves = [[claimed(f"pay_{half}_{number}") for number in range(64)] for half in range(2)]
    under_way, both = 0, asyncio.Event()

    async def meanwhile() -> None:
        nonlocal under_way
        under_way += 1
        if under_way == len(halves):
            both.set()
        await both.wait()

    slots = Slots(1000)
    shift = Working(SaidStore([*halves], meanwhile=meanwhile), make_ready=slots.make_ready, concurrency=128)
    async with shift.running():
        await settle()
        assert [wanted.most for wanted in shift.store.claims[:2]] == [64, 64]
        assert shift.store.claimers[:2] == [0, 1]
        await shift.wakeup.next_wait()
    assert len(set(shift.worked)) == 128
    assert (slots.held, shift.claimer.places.free) == (0, 128)


async def test_where_one_half_of_a_claim_fails_the_other_is_worked_on() -> None:
    half: list[list[Claimed] | Exception] = [
        DatabaseUnavailable("away"),
        [claimed(f"pay_{number}") for number in range(64)],
    ]
    slots = Slots(1000)
    shift = Working(SaidStore(half), make_ready=slots.make_ready, concurrency=128)
    async with shift.running():
        await shift.wakeup.next_wait()
        await settle()
        assert len(shift.worked) == 64
    assert (slots.held, shift.claimer.places.free) == (0, 128)
