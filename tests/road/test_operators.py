"""Operators press buttons while workers work: each race has an order, and the ledgers agree with it."""

import asyncio
from functools import partial
from typing import Any

import pytest

from app.saga.model import Action
from app.sandbox.ledger import Deed
from app.sandbox.manners import WELL, Turn, Ware
from tests.road.service import Client, arrived
from tests.road.world import BOOKING, World, bought, saga_toml

BUSY = Turn(503, acts=False, retry_after=600)
LOST = Turn(None)
UNRETURNABLE = "trip-flight-unreturnable-hotel-refused"


async def cancel(service: Client, operation: str, **body: Any) -> int:
    """An operator's cancel; the status of its answer."""
    return (await service.post(f"/operations/{operation}/cancel", **body)).status_code


async def in_status(service: Client, operation: str, status: str) -> dict[str, Any]:
    return await service.until(operation, lambda shown: shown["status"] == status)


async def test_a_cancel_while_the_call_is_out_waits_for_it_and_undoes_what_it_brings(world: World) -> None:
    """Trap 25: a cancel at the instant of completion; it never swallows a purchase that comes back meanwhile."""
    async with world.serving() as service:
        hold = world.supplier.desk.hold("order-1", Ware.PURCHASE, Action.DO)
        operation = await service.pay("order-1")
        await arrived(hold)
        assert await cancel(service, operation, note="the customer has changed his mind") == 200
        asked = await service.show(operation)
        assert (asked["status"], asked["phase"]) == ("processing", "purchase")
        assert asked["cancel_requested_at"] is not None
        assert await cancel(service, operation) == 200
        assert await service.show(operation) == asked
        hold.released.set()
        ended = await service.settled(operation)
        assert (ended["status"], ended["reason"]) == ("refunded", "cancelled")
        assert [entry.deed for entry in world.supplier.ledger.entries] == [Deed.BOUGHT, Deed.CANCELLED]
        assert len(world.psp.ledger.of(Deed.REFUNDED)) == 1
        assert await service.outcomes(operation) == [
            ("purchase", "do", "done"),
            ("purchase", "undo", "done"),
            ("payment", "undo", "done"),
        ]


async def test_a_cancel_after_the_completion_is_refused_unless_the_purchase_is_to_be_undone(world: World) -> None:
    """Trap 25, in the other order."""
    async with world.serving() as service:
        operation = await service.pay("order-1")
        done = await service.settled(operation)
        assert await cancel(service, operation) == 409
        assert await service.show(operation) == done
        assert await cancel(service, operation, undo_succeeded=True) == 200
        ended = await service.settled(operation)
        assert (ended["status"], ended["reason"]) == ("refunded", "cancelled")
        assert [entry.deed for entry in world.supplier.ledger.entries] == [Deed.BOUGHT, Deed.CANCELLED]


async def test_cancels_at_the_very_moment_of_completion_are_each_one_or_the_other(world: World) -> None:
    """Trap 25: whoever comes second decides again on what the first has left."""
    async with world.serving() as service:
        orders = [f"order-{number}" for number in range(24)]
        holds = [world.supplier.desk.hold(order, Ware.PURCHASE, Action.DO, after=True) for order in orders]
        ids = [await service.pay(order) for order in orders]
        await arrived(*holds)
        cancelling = []
        for place, (operation, hold) in enumerate(zip(ids, holds, strict=True)):
            if place % 2:
                cancelling.append(asyncio.create_task(cancel(service, operation)))
            hold.released.set()
            if not place % 2:
                cancelling.append(asyncio.create_task(cancel(service, operation)))
        answers = await asyncio.gather(*cancelling)
        assert set(answers) <= {200, 409}
        for operation, order, answer in zip(ids, orders, answers, strict=True):
            ended = await service.settled(operation)
            cancelled = answer == 200
            assert (ended["status"], ended["reason"]) == (
                ("refunded", "cancelled") if cancelled else ("succeeded", None)
            )
            assert len(world.supplier.ledger.of(Deed.BOUGHT, order_id=order)) == 1
            assert len(world.supplier.ledger.of(Deed.CANCELLED, order_id=order)) == cancelled
            assert len(world.psp.ledger.of(Deed.REFUNDED, order_id=order)) == cancelled


async def test_a_cancel_while_it_waits_for_its_next_attempt_turns_at_once(world: World) -> None:
    async with world.serving() as service:
        world.supplier.desk.script("order-1", Ware.PURCHASE, Action.DO, (BUSY,))
        operation = await service.pay("order-1")
        await in_status(service, operation, "error")
        assert await cancel(service, operation) == 200
        ended = await service.settled(operation)
        assert (ended["status"], ended["reason"]) == ("refunded", "cancelled")
        assert [step["status"] for step in ended["steps"]] == ["undone", "failed"]
        assert await service.outcomes(operation) == [("purchase", "do", "unavailable"), ("payment", "undo", "done")]


async def test_a_cancel_after_a_lost_answer_undoes_what_it_does_not_know_and_sends_nothing_forward(
    world: World,
) -> None:
    """Trap 13: an unknown step is undone as well; trap 11: only when its purchase can come no more."""
    sagas = saga_toml("purchase", "purchase", first="10m", longest="10m")
    async with world.serving(sagas=sagas) as service:
        world.supplier.desk.script("order-1", Ware.PURCHASE, Action.DO, (LOST,))
        operation = await service.pay("order-1")
        await in_status(service, operation, "error")
        assert await cancel(service, operation) == 200
        waits = await service.show(operation)
        assert (waits["phase"], waits["status"], waits["steps"][1]["status"]) == ("refund", "error", "unknown")
        ended = await service.settled(operation)
        assert (ended["status"], ended["reason"]) == ("refunded", "cancelled")
        assert [entry.deed for entry in world.supplier.ledger.entries] == [Deed.BOUGHT, Deed.CANCELLED]
        assert [call[:2] for call in await service.outcomes(operation)] == [
            ("purchase", "do"),
            ("purchase", "undo"),
            ("payment", "undo"),
        ]


async def test_a_retry_while_a_worker_runs_it_is_refused_and_after_it_runs_at_once(world: World) -> None:
    """Trap 24: an operator resets the row while a worker commits over it, or both run."""
    async with world.serving() as service:
        world.supplier.desk.script("order-1", Ware.PURCHASE, Action.DO, (BUSY, BUSY, WELL))
        hold = world.supplier.desk.hold("order-1", Ware.PURCHASE, Action.DO)
        operation = await service.pay("order-1")
        await arrived(hold)
        running = await service.show(operation)
        assert (await service.post(f"/operations/{operation}/retry")).status_code == 409
        assert await service.show(operation) == running
        hold.released.set()
        waits = await in_status(service, operation, "error")
        again = await service.post(f"/operations/{operation}/retry", note="they say it works again")
        assert again.status_code == 200
        assert (again.json()["status"], again.json()["failure_count"]) == ("pending", 0)
        moved = await service.until(operation, lambda shown: shown["revision"] >= waits["revision"] + 3)
        assert (moved["status"], moved["failure_count"]) == ("error", 1)
        assert (await service.post(f"/operations/{operation}/retry")).status_code == 200
        assert (await service.settled(operation))["status"] == "succeeded"
        calls = await service.attempts(operation)
        assert [call["attempt"] for call in calls] == [1, 2, 3]
        assert len({call["idempotency_key"] for call in calls}) == 1


async def test_a_retry_decided_on_a_revision_that_a_worker_has_moved_is_refused(world: World) -> None:
    """Trap 24: the operator decided on what he saw; `If-Match` says what that was."""
    async with world.serving() as service:
        world.supplier.desk.script("order-1", Ware.PURCHASE, Action.DO, (BUSY,))
        operation = await service.pay("order-1")
        seen = (await in_status(service, operation, "error"))["revision"]
        assert (await service.post(f"/operations/{operation}/retry")).status_code == 200
        waits = await service.until(
            operation, lambda shown: shown["status"] == "error" and shown["revision"] >= seen + 3
        )
        stale = await service.post(f"/operations/{operation}/retry", {"If-Match": f'"{seen}"'})
        assert stale.status_code == 412
        assert await service.show(operation) == waits
        fresh = await service.post(f"/operations/{operation}/cancel", {"If-Match": f'"{waits["revision"]}"'})
        assert fresh.status_code == 200
        assert (await service.settled(operation))["status"] == "refunded"


async def held(service: Client, order: str) -> str:
    """A booking whose hotel has refused and whose flight cannot be returned."""
    operation = await service.pay(order)
    ended = await service.settled(operation)
    assert (ended["status"], ended["held_reason"]) == ("held", "undo_rejected")
    return operation


async def test_a_retry_of_what_is_held_goes_on_where_it_stood(world: World) -> None:
    """Trap 15: an undo that fails for good is not closed as if all were well; a human has it done again."""
    async with world.serving(saga="booking", sagas=BOOKING) as service:
        operation = await held(service, UNRETURNABLE)
        assert await cancel(service, operation) == 409
        assert (await service.post(f"/operations/{operation}/retry")).status_code == 200
        assert (await service.settled(operation))["held_reason"] == "undo_rejected"
        assert not world.psp.ledger.of(Deed.REFUNDED)
        world.supplier.desk.script(UNRETURNABLE, Ware.FLIGHT, Action.UNDO, (WELL,))
        assert (await service.post(f"/operations/{operation}/retry")).status_code == 200
        assert (await service.settled(operation))["status"] == "refunded"
        assert bought(world.supplier.ledger)[-1] == ("cancelled", "flight", UNRETURNABLE)


@pytest.mark.parametrize("outcome", ["refunded", "succeeded"])
async def test_what_a_human_has_settled_elsewhere_is_called_no_more(world: World, outcome: str) -> None:
    async with world.serving(saga="booking", sagas=BOOKING) as service:
        operation = await held(service, UNRETURNABLE)
        calls = await service.outcomes(operation)
        said = await service.post(f"/operations/{operation}/resolve", outcome=outcome, note="by hand, receipt 4711")
        assert (said.status_code, said.json()["status"]) == (200, outcome)
        # Another payment goes all the way meanwhile: the worker has looked for work since.
        assert (await service.settled(await service.pay("trip-other")))["status"] == "succeeded"
        assert (await service.show(operation)) == said.json()
        assert await service.outcomes(operation) == calls
        assert not world.psp.ledger.of(Deed.REFUNDED)


async def test_one_step_that_a_human_has_settled_is_passed_and_the_money_goes_back(world: World) -> None:
    async with world.serving(saga="booking", sagas=BOOKING) as service:
        operation = await held(service, UNRETURNABLE)
        said = await service.post(f"/operations/{operation}/resolve", step="flight", outcome="undone", note="by phone")
        assert said.status_code == 200
        ended = await service.settled(operation)
        assert [step["status"] for step in ended["steps"]] == ["undone", "undone", "rejected"]
        assert (ended["status"], len(world.psp.ledger.of(Deed.REFUNDED))) == ("refunded", 1)
        assert len(world.supplier.ledger.entries) == 1


async def test_a_retry_of_all_that_are_held_runs_each_of_them_once(world: World) -> None:
    """Trap 30: many that failed together are taken up together, and no call goes out twice."""
    async with world.serving(saga="booking", sagas=BOOKING) as service:
        orders = [f"{UNRETURNABLE}-{number}" for number in range(12)]
        ids = await asyncio.gather(*map(partial(held, service), orders))
        for order in orders:
            world.supplier.desk.script(order, Ware.FLIGHT, Action.UNDO, (WELL,))
        tried = await service.post("/operations/retry?status=held", dry_run=True)
        assert tried.json() == {"matched": 12, "changed": 12}
        both = await asyncio.gather(*(service.post("/operations/retry?status=held") for _ in range(2)))
        assert sum(answer.json()["changed"] for answer in both) == 12
        assert {(await service.settled(one))["status"] for one in ids} == {"refunded"}
    assert len(world.supplier.ledger.of(Deed.CANCELLED)) == 12
    assert len(world.psp.ledger.of(Deed.REFUNDED)) == 12
