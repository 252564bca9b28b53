"""What is started as it is stored, while the database stands still, the process is killed, or told to end."""

import asyncio
import signal

import pytest

from app.db import reception
from app.identity import operation_id
from app.saga.model import Action
from app.sandbox.manners import Ware
from app.wiring import Role
from tests.road.at_once import CONFIG, at_rest, serving
from tests.road.line import Line
from tests.road.service import Client, arrived, client_of, until
from tests.road.watch import STORE, Watch
from tests.road.world import World, bought


async def test_who_was_told_503_finds_it_stored_and_it_is_called_when_its_lease_is_over(
    world: World, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database stood still: nobody waits any more for what it stores then, and the call counts as crashed."""
    monkeypatch.setattr(reception, "ACKNOWLEDGE_WITHIN", 0.1)
    async with serving(world, **CONFIG) as service:
        payment = world.psp.capture("order-1", 1999)
        event = world.psp.event(payment)
        async with watch.holding() as holding:
            await holding.execute("LOCK TABLE events IN SHARE MODE")
            sending = asyncio.create_task(world.psp.send(event))
            await watch.until_blocked(STORE)
            refused = await sending
            assert refused is not None
            assert refused.status_code == 503
            await until(lambda: at_rest(world))
        again = await world.psp.tell(event)
        assert again == 200
        operation = str(operation_id("shop", payment.id))
        assert (await service.settled(operation))["status"] == "succeeded"
        assert await service.outcomes(operation) == [("purchase", "do", "crashed"), ("purchase", "do", "done")]
        assert len({call["idempotency_key"] for call in await service.attempts(operation)}) == 1
    assert len(world.supplier.desk.visits) == 1


async def test_killed_between_its_commit_and_its_call_it_is_called_by_another_one_with_the_same_key(
    world: World, line: Line, watch: Watch, database_url: str
) -> None:
    """Trap 1: it is stored, taken and on record, and its process has not even heard so."""
    over_the_line = world.database_url
    async with world.process(Role.ALL, **CONFIG) as killed, client_of(killed.url) as http:
        service = Client(http, world.psp)
        world.psp.webhook_url = f"{killed.url}/webhooks/shop"
        assert (await service.settled(await service.pay("order-0")))["status"] == "succeeded"
        line.keep_answers()
        payment = world.psp.capture("order-1", 1999)
        telling = asyncio.create_task(world.psp.send(world.psp.event(payment)))
        operation = operation_id("shop", payment.id)

        async def stored() -> bool:
            return bool(
                await watch.ask(
                    "SELECT count(*) = 1 FROM attempts JOIN operations ON serial = operation_serial WHERE id = $1",
                    operation,
                )
            )

        await until(stored)
        await killed.kill()
        assert await telling is None
    assert [visit.order_id for visit in world.supplier.desk.visits] == ["order-0"]
    assert over_the_line != database_url
    world.database_url = database_url
    async with world.serving(**CONFIG) as service:
        await ended_after_a_crash(service, str(operation))
        told = await world.psp.send(world.psp.event(payment, url=world.psp.webhook_url))
        assert told is not None
        assert told.json()["status"] == "duplicate"
    assert [visit.order_id for visit in world.supplier.desk.visits] == ["order-0", "order-1"]


async def ended_after_a_crash(service: Client, operation: str) -> None:
    """It succeeded with the second call, which repeated the first one, which counted as crashed."""
    assert (await service.settled(operation))["status"] == "succeeded"
    calls = await service.attempts(operation)
    assert [(call["outcome"], call["attempt"]) for call in calls] == [("crashed", 1), ("done", 2)]
    assert len({call["idempotency_key"] for call in calls}) == 1
    assert calls[0]["request"] == calls[1]["request"]
    assert await service.causes(operation) == ["payment_received", "claimed", "lease_expired", "claimed", "step_done"]


async def test_killed_during_its_call_it_is_repeated_with_the_same_key_and_bought_once(world: World) -> None:
    async with world.process(Role.ALL, **CONFIG) as killed:
        hold = world.supplier.desk.hold("order-1", Ware.PURCHASE, Action.DO, after=True)
        payment = world.psp.capture("order-1", 1999)
        told = await world.psp.send(world.psp.event(payment, url=f"{killed.url}/webhooks/shop"))
        assert told is not None
        await arrived(hold)
        await killed.kill()
        hold.released.set()
    async with world.serving(**CONFIG) as service:
        await ended_after_a_crash(service, told.json()["operation_id"])
    first, second = world.supplier.desk.visits
    assert (first.key, first.attempt, second.attempt) == (second.key, "1", "2")
    assert bought(world.supplier.ledger) == [("bought", "purchase", "order-1")]


async def test_sigterm_while_what_was_told_is_being_stored_answers_it_calls_and_ends(
    world: World, watch: Watch
) -> None:
    """Trap 8: on record as sent, it is sent; or it would count as crashed, and wait for its lease."""
    async with world.serving(Role.API, **CONFIG) as service:
        async with world.process(Role.ALL, **CONFIG) as ending:
            first = world.psp.capture("first", 1999)
            told = await world.psp.send(world.psp.event(first, url=f"{ending.url}/webhooks/shop"))
            assert told is not None
            # Its first claim has come back when this has ended: from then on it starts what it is told of.
            [call] = await service.attempts((await service.settled(told.json()["operation_id"]))["id"])
            async with watch.holding() as holding:
                await holding.execute("LOCK TABLE events IN SHARE MODE")
                event = world.psp.event(world.psp.capture("order-1", 1999), url=f"{ending.url}/webhooks/shop")
                telling = asyncio.create_task(world.psp.send(event))
                await watch.until_blocked(STORE)
                ending.send(signal.SIGTERM)
                await until(lambda: refuses(ending.url))
            answer = await telling
            assert await ending.ended() == 0
        assert answer is not None
        assert answer.status_code == 202
        operation = answer.json()["operation_id"]
        async with world.working(**CONFIG):
            assert (await service.settled(operation))["status"] == "succeeded"
        assert await service.outcomes(operation) == [("purchase", "do", "done")]
        # By the process that was told to end, which claims nothing any more.
        assert (await service.attempts(operation))[0]["worker"] == call["worker"]
    assert [visit.order_id for visit in world.supplier.desk.visits] == ["first", "order-1"]


async def refuses(url: str) -> bool:
    """Whether a server takes no connection any more."""
    port = int(url.rsplit(":", 1)[1])
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return True
    writer.close()
    return False
