"""Calls that go on record with their claim: all of the claim or nothing, and what was said last where it is sent again."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from app.db.claim import Claim, Claimed
from app.db.operations import Begun
from app.db.store import Store
from app.db.writer import PoisonedBatch
from app.saga import Sending, advance, prepare
from app.saga.model import Status
from app.saga.signals import LeaseExpired
from tests.builders import NOW, FixedClock, arrival_of, operation_for, purchase_saga
from tests.db.claims import LEASE, claim_of, done, start_of
from tests.db.losing import Losing

LATER = NOW + timedelta(seconds=5)


def begin(one: Claimed) -> Begun:
    """Its call, ready."""
    sending = prepare(purchase_saga(), one.operation, LATER)
    assert isinstance(sending, Sending)
    return Begun(sending.operation, replace(start_of(sending, one.operation), at=LATER))


class Said:
    """Makes calls ready and remembers what it was asked about. `none`: payments whose calls cannot be."""

    def __init__(self, *none: str) -> None:
        self.asked: list[Claimed] = []
        self._none = none

    def __call__(self, one: Claimed) -> Begun | None:
        self.asked.append(one)
        return None if one.operation.external_id in self._none else begin(one)


async def receive(store: Store, *payments: str) -> None:
    for place, payment in enumerate(payments):
        await store.ingest(arrival_of(operation_for(payment, now=NOW - timedelta(seconds=len(payments) - place))))


@pytest.fixture
def wanted() -> Claim:
    return Claim(uuid4(), 0, 10, "worker-1", LATER, LATER + LEASE)


async def test_those_that_are_ready_are_begun_and_the_others_are_claimed_alone(
    store: Store, database: Any, wanted: Claim
) -> None:
    await receive(store, "pay_1", "pay_2", "pay_3")
    said = Said("pay_2")
    claimed = await store.claim(wanted, said)
    assert [one.operation.external_id for one in claimed] == ["pay_1", "pay_2", "pay_3"]
    assert claimed == said.asked
    for one in claimed:
        is_begun = one.operation.external_id != "pay_2"
        stored = await store.load(one.operation.id)
        assert stored == (begin(one).operation if is_begun else one.operation)
        calls = await database.fetch(
            "SELECT lease, outcome FROM attempts WHERE operation_serial = $1", one.operation.serial
        )
        assert [tuple(call) for call in calls] == [(1, None)] * is_begun
    assert await database.fetchval("SELECT count(*) FROM history WHERE cause = 'claimed'") == 3


async def test_what_was_begun_with_its_claim_is_recorded_on_and_not_begun_again(
    store: Store, database: Any, wanted: Claim
) -> None:
    await receive(store, "pay_1")
    [one] = await store.claim(wanted, begin)
    assert not await store.record(done(one.operation), actor="worker-1")  # it forgets that the call is out
    assert await store.record(done(begin(one).operation), actor="worker-1")
    assert await database.fetchval("SELECT max(revision) FROM history") == 3


async def test_the_steps_of_a_later_claim_that_is_not_begun_stay_as_they_are(store: Store, wanted: Claim) -> None:
    """Trap 1: the first call is on record and its worker dead; the second claim must not forget that it was out."""
    await receive(store, "pay_1")
    [one] = await store.claim(wanted, begin)
    expired = advance(purchase_saga(), begin(one).operation, LeaseExpired(), LATER, 0.5)
    assert expired is not None
    assert await store.record(expired, actor="supervisor")
    later = LATER + LEASE
    [again] = await store.claim(replace(wanted, id=uuid4(), at=later, leased_until=later + LEASE))
    assert again.operation.state_of("purchase").do.count == 1
    stored = await store.load(one.operation.id)
    assert stored == again.operation
    assert (stored.steps, stored.last_run_at) == (expired.after.steps, LATER)


async def test_a_call_that_cannot_be_written_takes_nothing(store: Store, database: Any, wanted: Claim) -> None:
    await receive(store, "pay_1", "pay_2")

    def poisoned(one: Claimed) -> Begun:
        made = begin(one)
        return replace(made, start=replace(made.start, request={"body": float("nan")}))

    with pytest.raises(PoisonedBatch):
        await store.claim(wanted, poisoned)
    assert {row["status"] for row in await database.fetch("SELECT status FROM operations")} == {"pending"}
    assert await database.fetchval("SELECT count(*) FROM history") == 2
    assert len(await store.claim(wanted, begin)) == 2


async def test_a_claim_whose_commit_was_lost_finds_what_it_has_taken_and_asks_for_no_call_again(
    losing: type[Losing], losing_store: Store, database: Any, wanted: Claim
) -> None:
    """Trap 9: asked again, it would make ready a second call of what is on record already."""
    await receive(losing_store, "pay_1", "pay_2")
    said = Said("pay_2")
    losing.losing = 1
    claimed = await losing_store.claim(wanted, said)
    assert losing.losing == 0
    assert [one.operation.external_id for one in said.asked] == ["pay_1", "pay_2"]
    assert [(one.operation.external_id, one.from_status, one.event) for one in claimed] == [
        (payment, Status.PENDING, b'{"type":"payment.received"}') for payment in ("pay_1", "pay_2")
    ]
    assert claimed[0].operation == begin(said.asked[0]).operation
    assert claimed[1].operation == said.asked[1].operation
    assert await database.fetchval("SELECT count(*) FROM attempts") == 1
    assert await database.fetchval("SELECT max(revision) FROM history") == 2


async def test_a_claim_that_broke_before_its_commit_asks_again_and_the_last_word_is_written(
    store: Store, database: Any, wanted: Claim
) -> None:
    """The connection is killed in the middle; meanwhile another worker takes one of the two."""
    await receive(store, "pay_1", "pay_2")
    asked: list[list[str]] = []

    def then(broken: Callable[[], object]) -> Callable[[Claimed], Begun | None]:
        def ready(one: Claimed) -> Begun | None:
            if not asked:
                asked.append([])
                broken()
            asked[-1].append(one.operation.external_id)
            return begin(one) if len(asked) > 1 else None

        return ready

    def cut() -> None:
        connection = store._writers["claim"]._connection
        assert connection is not None
        connection.terminate()
        asyncio.get_running_loop().call_soon(asked.append, [])

    claimed = await store.claim(wanted, then(cut))
    assert asked == [["pay_1", "pay_2"], ["pay_1", "pay_2"]]
    assert len(claimed) == 2
    assert await database.fetchval("SELECT count(*) FROM attempts") == 2
    assert await database.fetchval("SELECT count(*) FROM history WHERE cause = 'claimed'") == 2


async def test_of_eight_claims_at_once_each_operation_is_begun_by_one(
    store: Store, database_url: str, clock: FixedClock, database: Any
) -> None:
    await asyncio.gather(*(store.ingest(arrival_of(operation_for(f"pay_{number}"))) for number in range(40)))
    others = [Store(database_url, 1, clock) for _ in range(8)]
    taken = await asyncio.gather(*(other.claim(claim_of(10, f"worker-{n}"), begin) for n, other in enumerate(others)))
    ids = [one.operation.id for part in taken for one in part]
    assert len(ids) == len(set(ids))
    assert await database.fetchval("SELECT count(*) FROM attempts") == len(ids)
    assert await database.fetchval("SELECT count(*) FROM operations WHERE lease > 1") == 0
    for other in others:
        await other.close()


async def test_the_call_of_a_row_that_cannot_be_read_is_not_asked_for(
    store: Store, database: Any, wanted: Claim
) -> None:
    """Trap 28: it is taken out of the way, and its steps stay as the newer program has written them."""
    await receive(store, "pay_1", "pay_2")
    steps = '[{"name":"payment","status":"of-tomorrow"}]'
    await database.execute("UPDATE operations SET steps = $1 WHERE external_id = 'pay_1'", steps)
    said = Said()
    assert [one.operation.external_id for one in await store.claim(wanted, said)] == ["pay_2"]
    assert len(said.asked) == 1
    row = await database.fetchrow("SELECT status, steps, lease, attempt FROM operations WHERE external_id = 'pay_1'")
    assert tuple(row) == ("processing", steps, 1, 1)
    assert await database.fetchval("SELECT count(*) FROM attempts") == 1
