"""What happens while a call is out: the deadline passes, the database goes away, its schema moves on."""

import asyncio
import logging
from functools import partial

import pytest

from app.db import store as stores
from app.db.writer import Writer
from app.saga.model import Action
from app.sandbox.desk import Hold
from app.sandbox.ledger import Deed
from app.sandbox.manners import Ware
from app.wiring import Role
from tests.road.line import Line
from tests.road.service import Client, arrived, until
from tests.road.watch import TERMINATE, Watch
from tests.road.world import PURCHASE, World, bought

BRIEF = '[sagas.purchase]\ndeadline = "2s"\n'


async def call_out(world: World, service: Client, order: str = "order-1") -> tuple[str, Hold]:
    """A payment whose purchase was made and is not answered yet."""
    hold = world.supplier.desk.hold(order, Ware.PURCHASE, Action.DO, after=True)
    operation = await service.pay(order)
    await arrived(hold)
    return operation, hold


async def test_a_deadline_that_passes_while_the_call_is_out_awaits_it_and_undoes_what_it_brings(
    world: World, watch: Watch
) -> None:
    async with world.serving(sagas=BRIEF + PURCHASE, timeout="20s") as service:
        operation, hold = await call_out(world, service)

        async def passed() -> bool:
            return bool(await watch.ask("SELECT deadline < clock_timestamp() FROM operations"))

        await until(passed)
        assert (await service.show(operation))["status"] == "processing"
        hold.released.set()
        ended = await service.settled(operation)
        assert (ended["status"], ended["reason"]) == ("refunded", "deadline_passed")
        assert [entry.deed for entry in world.supplier.ledger.entries] == [Deed.BOUGHT, Deed.CANCELLED]
        assert await service.outcomes(operation) == [
            ("purchase", "do", "done"),
            ("purchase", "undo", "done"),
            ("payment", "undo", "done"),
        ]


async def test_an_answer_is_not_lost_when_every_connection_to_the_database_breaks_meanwhile(
    world: World, watch: Watch
) -> None:
    """Trap 47: the session is killed after the partner has acted, and nobody has written down that he did."""
    async with world.serving() as service:
        operation, hold = await call_out(world, service)
        assert await watch.ask(TERMINATE) > 0
        hold.released.set()
        await service.recovered()
        assert (await service.settled(operation))["status"] == "succeeded"
        assert await service.outcomes(operation) == [("purchase", "do", "done")]
        assert (await service.settled(await service.pay("order-2")))["status"] == "succeeded"


async def test_an_answer_is_not_lost_while_the_database_is_away(
    world: World, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trap 9: whether the last commit landed is not known when its connection breaks; it is written again, once."""
    monkeypatch.setattr(stores, "Writer", partial(Writer, resend_for=0.1))
    async with world.serving() as service:
        operation, hold = await call_out(world, service)
        line.cut()
        hold.released.set()
        payment = world.psp.capture("order-2", 1999)
        told = asyncio.create_task(world.psp.tell(world.psp.event(payment)))
        # By then each has given up several times: who writes the answer down, and who takes the webhook.
        await until(lambda: _refused(world, line))
        assert (await service.http.get(f"/operations/{operation}")).status_code == 503
        assert (await service.http.get("/readyz")).status_code == 503
        line.mend()
        assert await told in {200, 202}
        await service.recovered()
        assert (await service.settled(operation))["status"] == "succeeded"
        assert await service.outcomes(operation) == [("purchase", "do", "done")]
        second = (await service.get("/operations?order_id=order-2"))["items"]
        assert [(await service.settled(one["id"]))["status"] for one in second] == ["succeeded"]
    assert bought(world.supplier.ledger) == [("bought", "purchase", "order-1"), ("bought", "purchase", "order-2")]


async def _refused(world: World, line: Line) -> bool:
    return line.refused > 0 and [delivery.status for delivery in world.psp.deliveries].count(503) >= 5


async def test_a_table_that_is_changed_under_the_workers_stops_none_of_them(
    world: World, watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    """A migration of a newer version adds a column while this one runs: its statements are planned anew."""
    async with world.serving() as service:
        operation, hold = await call_out(world, service)
        await watch.connection.execute("ALTER TABLE operations ADD COLUMN news text")
        hold.released.set()
        assert (await service.settled(operation))["status"] == "succeeded"
        assert (await service.settled(await service.pay("order-2-refused")))["status"] == "refunded"
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_row_that_breaks_whoever_takes_it_ends_as_held_and_keeps_nobody_waiting(
    world: World, watch: Watch
) -> None:
    """Trap 28: what breaks its worker before a failure is counted would be taken up again for ever.

    It is counted at the claim.
    """
    sagas = PURCHASE.replace("maximum_attempts = 20", "maximum_attempts = 2")
    async with world.serving(Role.API, sagas=sagas, lease="200ms") as service:
        broken = await service.pay("order-1")
        await watch.connection.execute("UPDATE events SET payload = '\\xff'")
        well = await service.pay("order-2")
        async with world.working(sagas=sagas, lease="200ms"):
            assert (await service.settled(well))["status"] == "succeeded"
            ended = await service.settled(broken)
        assert (ended["status"], ended["held_reason"]) == ("held", "undo_exhausted")
        assert ended["reason"] == "attempts_exhausted"
        assert (await service.causes(broken)).count("lease_expired") == 5
    assert {visit.order_id for visit in world.supplier.desk.visits + world.psp.desk.visits} == {"order-2"}
