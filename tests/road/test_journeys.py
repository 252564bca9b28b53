"""Whole journeys: from the webhook to the purchase, or back to the refund."""

import asyncio

from tests.road.world import BOOKING, World, bought, saga_toml


async def test_a_payment_becomes_a_purchase(world: World) -> None:
    async with world.serving() as service:
        operation = await service.settled(await service.pay("order-1"))
        assert (operation["status"], operation["phase"], operation["reason"]) == ("succeeded", "purchase", None)
        assert bought(world.supplier.ledger) == [("bought", "purchase", "order-1")]
        [attempt] = await service.attempts(operation["id"])
        assert attempt["idempotency_key"] == f"{operation['id']}:purchase:do"
        assert attempt["outcome"] == "done"


async def test_a_refused_purchase_is_refunded(world: World) -> None:
    async with world.serving() as service:
        operation = await service.settled(await service.pay("order-1-refused"))
        assert (operation["status"], operation["reason"]) == ("refunded", "rejected")
        assert world.supplier.ledger.entries == []
        assert bought(world.psp.ledger)[1:] == [("refunded", "payment", "order-1-refused")]


async def test_a_lost_answer_is_asked_for_again_with_the_same_key_and_bought_once(world: World) -> None:
    """Trap 2: the answer is lost after the purchase was made; unknown is not failed."""
    async with world.serving() as service:
        operation = await service.settled(await service.pay("order-1-lost"))
        assert operation["status"] == "succeeded"
        assert bought(world.supplier.ledger) == [("bought", "purchase", "order-1-lost")]
        attempts = await service.attempts(operation["id"])
        assert [attempt["outcome"] for attempt in attempts] == ["unknown", "done"]
        assert len({attempt["idempotency_key"] for attempt in attempts}) == 1


async def test_a_busy_supplier_is_asked_again_when_it_said(world: World) -> None:
    async with world.serving() as service:
        operation = await service.settled(await service.pay("order-1-busy"))
        assert operation["status"] == "succeeded"
        first, second = await service.attempts(operation["id"])
        assert (first["outcome"], second["outcome"]) == ("unavailable", "done")


async def test_what_never_answers_is_undone_and_refunded(world: World) -> None:
    """Trap 13: the step whose outcome never came is undone as well, though nobody knows that it was done."""
    async with world.serving() as service:
        operation = await service.settled(await service.pay("order-1-down-bought"))
        assert (operation["status"], operation["reason"]) == ("refunded", "attempts_exhausted")
        assert bought(world.supplier.ledger) == [
            ("bought", "purchase", "order-1-down-bought"),
            ("cancelled", "purchase", "order-1-down-bought"),
        ]
        assert bought(world.psp.ledger)[-1] == ("refunded", "payment", "order-1-down-bought")


async def test_a_lookup_finds_what_was_bought_when_attempts_are_at_their_end(world: World) -> None:
    """Trap 5: the key answers 500 for ever, though the purchase was made; the lookup says so."""
    sagas = saga_toml("purchase", "purchase", lookup=True)
    async with world.serving(sagas=sagas) as service:
        operation = await service.settled(await service.pay("order-1-down-bought"))
        assert operation["status"] == "succeeded"
        assert [attempt["action"] for attempt in await service.attempts(operation["id"])] == ["do"] * 3 + ["lookup"]


async def test_a_booking_whose_hotel_refuses_is_taken_back_last_step_first(world: World) -> None:
    """Trap 14 and 16: the flight is cancelled before the money goes back."""
    async with world.serving(saga="booking", sagas=BOOKING) as service:
        operation = await service.settled(await service.pay("trip-1-hotel-refused"))
        assert (operation["status"], operation["reason"]) == ("refunded", "rejected")
        calls = [(one["step"], one["action"], one["outcome"]) for one in await service.attempts(operation["id"])]
        assert calls == [
            ("flight", "do", "done"),
            ("hotel", "do", "rejected"),
            ("flight", "undo", "done"),
            ("payment", "undo", "done"),
        ]
        assert [step["status"] for step in operation["steps"]] == ["undone", "undone", "rejected"]


async def test_what_cannot_be_undone_is_held_and_no_money_goes_back(world: World) -> None:
    async with world.serving(saga="booking", sagas=BOOKING) as service:
        operation = await service.settled(await service.pay("trip-1-flight-unreturnable-hotel-refused"))
        assert (operation["status"], operation["held_reason"]) == ("held", "undo_rejected")
        assert [entry.deed for entry in world.psp.ledger.entries] == ["captured"]


async def test_a_hundred_simultaneous_deliveries_make_one_operation_and_one_purchase(world: World) -> None:
    """Trap 33: deliveries and different events of one payment, all at once."""
    async with world.serving() as service:
        payment = world.psp.capture("order-1", 1999)
        events = [world.psp.event(payment) for _ in range(10)]
        answers = await asyncio.gather(*(world.psp.send(events[number % 10]) for number in range(100)))
        said = [answer.json() for answer in answers if answer is not None]
        assert len(said) == 100
        assert sorted(one["status"] for one in said) == ["accepted"] + ["duplicate"] * 99
        assert len({one["operation_id"] for one in said}) == 1
        await service.settled(said[0]["operation_id"])
        assert bought(world.supplier.ledger) == [("bought", "purchase", "order-1")]
