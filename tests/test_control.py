"""What an operator does to many at once, below the API."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from app import control
from app.control import Tally
from app.db import reads
from app.db.filters import OperationFilter
from app.errors import NotAllowed, NotFound, RevisionMoved
from app.saga.model import Phase, Status
from app.saga.signals import CancelRequested, RetryRequested, StepDone
from tests.api.desk import Desk, desk_on
from tests.builders import FixedClock

EVERY = OperationFilter(source="shop")


@pytest.fixture
async def desk(database_url: str, tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk_on(database_url, FixedClock(), tmp_path) as desk:
        yield desk


async def test_so_many_at_once_and_no_more(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left is found by the next call: those that cannot change any more do not stand in the way."""
    monkeypatch.setattr(control, "MOST_AT_ONCE", 2)
    for number in range(3):
        await desk.pay(f"pay_{number}")
    operators = desk.context.control
    assert await operators.count(EVERY, CancelRequested()) == Tally(3, 2)
    assert await operators.act_on_all(EVERY, CancelRequested(), actor="anna") == Tally(3, 2)
    assert await operators.act_on_all(EVERY, CancelRequested(), actor="anna") == Tally(3, 1)
    assert await operators.act_on_all(EVERY, CancelRequested(), actor="anna") == Tally(3, 0)


async def test_a_refund_cannot_be_cancelled_so_none_is_asked_for(desk: Desk) -> None:
    await desk.pay()
    operators = desk.context.control
    await operators.act_on_all(EVERY, CancelRequested(), actor="anna")
    refunds = OperationFilter(phase=Phase.REFUND)
    assert await operators.act_on_all(refunds, CancelRequested(), actor="anna") == Tally(1, 0)
    assert await operators.act_on_all(refunds, RetryRequested(), actor="anna") == Tally(1, 0)


async def test_many_and_a_worker_at_once_each_end_in_one_order(desk: Desk) -> None:
    """Trap 25: a bulk cancel that swallows purchases which come back meanwhile, or is swallowed by them."""
    for number in range(20):
        await desk.pay(f"pay_{number}")
    running = await desk.claim(20)
    recorded, tally = await asyncio.gather(
        asyncio.gather(*(desk.record(operation, StepDone(None)) for operation in running)),
        desk.context.control.act_on_all(EVERY, CancelRequested(), actor="anna"),
    )
    stored = await reads.operations(desk.context.engine, EVERY, 100)
    succeeded = [operation for operation in stored if operation.status is Status.SUCCEEDED]
    asked = [operation for operation in stored if operation.cancel_requested_at is not None]
    assert len(succeeded) + len(asked) == 20
    assert (sum(recorded), tally.changed) == (len(succeeded), len(asked))


async def test_an_answer_is_dated_as_it_is_stored(desk: Desk) -> None:
    id_ = UUID(await desk.failed())
    desk.clock.advance(timedelta(minutes=1))
    said = await desk.context.control.act(id_, RetryRequested(), actor="anna")
    assert said == await desk.store.load(id_)


async def test_what_cannot_be_done_is_said(desk: Desk) -> None:
    id_ = UUID(await desk.pay())
    operators = desk.context.control
    with pytest.raises(NotFound):
        await operators.act(UUID(int=1), RetryRequested(), actor="anna")
    with pytest.raises(NotAllowed, match="pending"):
        await operators.act(id_, RetryRequested(), actor="anna")
    with pytest.raises(RevisionMoved, match="revision 1"):
        await operators.act(id_, CancelRequested(), actor="anna", if_match=lambda revision: revision == 2)
