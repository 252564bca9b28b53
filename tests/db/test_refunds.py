"""What is told of refunds is put together whatever its order; and one operation at a time has the turn."""

import asyncio
from itertools import permutations
from uuid import UUID, uuid4

import pytest

from app.db.engine import AsyncEngine, connect
from app.db.refunds import Holder, RefundClaim, Told, add_told, give_back, take, take_over, told_of
from app.saga.refund_facts import KnownRefund, RefundStanding
from tests.builders import NOW

ONE, OTHER = UUID(int=1), UUID(int=2)
P, S, F = RefundStanding.PENDING, RefundStanding.SUCCEEDED, RefundStanding.FAILED


def told(standing: RefundStanding, *, key: str | None = None, operation: UUID = ONE, amount: int = 500) -> Told:
    """What an event tells."""
    return Told(0, operation, KnownRefund("re_1", amount, "EUR", standing, key), NOW)


def wish(operation: UUID, lease: int, payment: str = "pi_1") -> RefundClaim:
    """The wish of an operation for its turn."""
    return RefundClaim("psp", payment, operation, lease, NOW)


@pytest.mark.parametrize("order", list(permutations((told(P, key="k"), told(S), told(F)))))
@pytest.mark.parametrize("together", [True, False], ids=["one batch", "one by one"])
async def test_a_refund_is_what_its_life_has_come_to_in_whatever_order_it_is_told(
    database_url: str, engine: AsyncEngine, order: tuple[Told, ...], together: bool
) -> None:
    connection = await connect(database_url)
    for batch in [order] if together else [[one] for one in order]:
        await add_told(connection, batch)
    await connection.close()
    [refund] = (await told_of(engine, [(0, ONE)]))[ONE]
    assert (refund.id, refund.standing, refund.amount) == ("re_1", F, 500)
    assert refund.at == NOW


async def test_what_is_told_is_kept_for_each_operation_also_before_there_is_one(
    database_url: str, engine: AsyncEngine
) -> None:
    connection = await connect(database_url)
    await add_told(connection, [told(S), told(P, operation=OTHER, amount=7)])
    await connection.close()
    found = await told_of(engine, [(0, ONE), (0, OTHER), (0, uuid4())])
    assert {id_: [one.amount for one in refunds] for id_, refunds in found.items()} == {ONE: [500], OTHER: [7]}


async def test_one_operation_has_the_turn_and_keeps_it_over_its_claims(engine: AsyncEngine) -> None:
    assert await take(engine, wish(ONE, 1)) is None
    assert await take(engine, wish(OTHER, 1)) == Holder(ONE, 1)
    assert await take(engine, wish(OTHER, 1, "pi_2")) is None, "another payment has a turn of its own"
    assert await take(engine, wish(ONE, 4)) is None
    assert await take(engine, wish(OTHER, 1)) == Holder(ONE, 4)
    await give_back(engine, "psp", "pi_1", ONE, 3)
    assert await take(engine, wish(OTHER, 1)) == Holder(ONE, 4), "an earlier claim cannot give it back"
    await give_back(engine, "psp", "pi_1", OTHER, 9)
    assert await take(engine, wish(OTHER, 1)) == Holder(ONE, 4), "nor can another operation"
    await give_back(engine, "psp", "pi_1", ONE, 5)
    assert await take(engine, wish(OTHER, 1)) is None


async def test_a_turn_is_taken_over_only_as_it_was_seen(engine: AsyncEngine) -> None:
    await take(engine, wish(ONE, 1))
    seen = await take(engine, wish(OTHER, 1))
    assert seen is not None
    await take(engine, wish(ONE, 2))
    assert not await take_over(engine, wish(OTHER, 1), seen)
    seen = await take(engine, wish(OTHER, 1))
    assert seen is not None
    assert await take_over(engine, wish(OTHER, 1), seen)
    assert await take(engine, wish(ONE, 3)) == Holder(OTHER, 1)


async def test_of_many_that_want_it_at_once_one_has_the_turn(engine: AsyncEngine) -> None:
    found = await asyncio.gather(*(take(engine, wish(UUID(int=number), 1)) for number in range(20)))
    assert found.count(None) == 1
