"""A process that works and is told of payments starts them as it stores them: as by the long way, and never twice."""

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from app.db import schema
from app.db import store as stores
from app.db.claim import Claimed
from app.db.store import Store
from app.intake import operation_id
from app.providers import provider
from app.saga.model import Action
from app.sandbox.ledger import Deed
from app.sandbox.manners import WELL, Turn, Ware
from app.wiring import Role
from tests.road.line import Fate, Line
from tests.road.service import Client, arrived, client_of, until
from tests.road.watch import Watch
from tests.road.world import PURCHASE, World, bought, saga_toml, world_of

CONFIG: dict[str, Any] = {"lease": "1s", "timeout": "20s"}
WAY = ["payment_received", "claimed", "step_done"]
STORING = "INSERT INTO events"
DOWN = Turn(503, acts=False, retry_after=0)


@pytest.fixture
def claimed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The orders that were claimed, so that were not started as they were stored."""
    orders: list[str] = []
    claim = Store.claim

    async def noting(store: Store, *how: Any) -> list[Claimed]:
        found = await claim(store, *how)
        orders.extend(one.operation.order_id for one in found)
        return found

    monkeypatch.setattr(Store, "claim", noting)
    return orders


@contextlib.asynccontextmanager
async def serving(world: World, **how: Any) -> AsyncIterator[Client]:
    """A service of this process that starts what it is told of; in the end each place and each slot is free again."""
    async with world.serving(**how) as service:
        await until(lambda: knows_that_nothing_waits(world))
        yield service
        await until(lambda: at_rest(world))


async def knows_that_nothing_waits(world: World) -> bool:
    """Whether the first claim has come back."""
    runner = world.services[-1].runner
    assert runner is not None
    return not runner._claimer._behind


async def at_rest(world: World) -> bool:
    """Whether all places of the claimer and all slots of the agents are free."""
    runner = world.services[-1].runner
    assert runner is not None
    gates = runner._parts.agents._gates
    settings = world.services[-1].context.settings
    places = runner._claimer._free() == settings.worker.concurrency
    return places and all(gate._free == settings.agents[name].max_concurrency for name, gate in gates.items())


async def story(service: Client, operation: str) -> dict[str, Any]:
    """What is kept of an operation, without what no two share."""
    own = {"id", "operation_id", "external_id", "order_id", "idempotency_key", "at", "worker", "actor", "transition"}
    times = {"started_at", "finished_at", "created_at", "updated_at", "last_run_at", "deadline", "occurred_at"}

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(one) for key, one in value.items() if key not in own | times | {"url", "body", "result"}}
        return [plain(one) for one in value] if isinstance(value, list) else value

    history = (await service.get(f"/operations/{operation}/history"))["items"]
    return {
        "operation": plain(await service.show(operation)),
        "history": plain(history),
        "attempts": plain(await service.attempts(operation)),
    }


async def test_what_is_started_at_once_has_the_same_story_as_by_the_long_way(world: World, claimed: list[str]) -> None:
    orders = ["order", "order-refused", "order-busy", "order-lost"]
    async with serving(world) as service:
        ids = [await service.pay(f"{order}-1") for order in orders]
        ended = [await service.settled(one) for one in ids]
        at_once = [await story(service, one) for one in ids]
    assert claimed.count("order-1") == 0
    async with world.serving(Role.API) as service, world.working():
        other = [await service.pay(f"{order}-2") for order in orders]
        assert [(await service.settled(one))["status"] for one in other] == [one["status"] for one in ended]
        assert [await story(service, one) for one in other] == at_once
    assert claimed.count("order-2") == 1
    assert [one["status"] for one in ended] == ["succeeded", "refunded", "succeeded", "succeeded"]


async def test_second_deliveries_and_conflicts_start_nothing_and_hold_nothing(world: World, watch: Watch) -> None:
    """All of them in one batch, and again while the call is out, and when all is over."""
    async with serving(world, agent="max_concurrency = 2", **CONFIG) as service:
        payment = world.psp.capture("order-1", 1999)
        hold = world.supplier.desk.hold("order-1", Ware.PURCHASE, Action.DO)
        other = payment.__class__(Deed.CAPTURED, payment.ware, payment.id, "order-1", 1, "EUR")
        events = [world.psp.event(payment) for _ in range(10)] + [world.psp.event(other)]

        async def told() -> list[str]:
            answers = await asyncio.gather(*(world.psp.send(event) for event in events))
            return sorted(answer.json()["status"] for answer in answers if answer is not None)

        assert await told() in (
            ["accepted", "conflict"] + ["duplicate"] * 9,
            ["accepted"] + ["conflict"] * 10,  # the one that differs was the first
        )
        await arrived(hold)
        assert "accepted" not in await told()
        hold.released.set()
        operation = str(operation_id("shop", payment.id))
        assert (await service.settled(operation))["status"] == "succeeded"
        assert "accepted" not in await told()
        assert await service.causes(operation) == WAY
        assert await service.outcomes(operation) == [("purchase", "do", "done")]
    assert len(world.supplier.desk.visits) == 1
    assert await watch.ask("SELECT count(*) FROM operations") == 1


def break_ingest(world: World, line: Line, fate: Fate) -> None:
    """The next commit of what is delivered meets its fate."""
    runner = world.services[-1].runner
    assert runner is not None
    connection: Any = runner._parts.store._writers["ingest"]._connection
    line.break_at_commit(connection._transport.get_extra_info("sockname")[1], fate)


@pytest.mark.parametrize("fate", Fate)
async def test_a_commit_that_broke_on_the_wire_starts_its_operations_once(
    world: World, line: Line, claimed: list[str], fate: Fate
) -> None:
    """Trap 9: sent again, what was stored by the first try is ours to call, and what was not is stored and called."""
    async with serving(world, poll_interval="10m") as service:
        assert (await service.settled(await service.pay("order-0")))["status"] == "succeeded"
        break_ingest(world, line, fate)
        ids = await asyncio.gather(*(service.pay(f"order-{number}") for number in range(1, 5)))
        assert [(await service.settled(one))["status"] for one in ids] == ["succeeded"] * 4
        for one in ids:
            assert await service.outcomes(one) == [("purchase", "do", "done")]
            assert await service.causes(one) == WAY
    assert claimed == []
    assert sorted(visit.order_id for visit in world.supplier.desk.visits) == [f"order-{number}" for number in range(5)]


async def test_who_was_told_503_finds_it_stored_and_it_is_called_when_its_lease_is_over(
    world: World, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database stood still: nobody waits any more for what it stores then, and the call counts as crashed."""
    monkeypatch.setattr(stores, "ACKNOWLEDGE_WITHIN", 0.1)
    async with serving(world, **CONFIG) as service:
        payment = world.psp.capture("order-1", 1999)
        event = world.psp.event(payment)
        async with watch.holding() as holding:
            await holding.execute("LOCK TABLE events IN SHARE MODE")
            sending = asyncio.create_task(world.psp.send(event))
            await watch.until_blocked(STORING)
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
            return await watch.ask("SELECT count(*) FROM attempts WHERE operation_id = $1", operation) == 1

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
            for number in range(100):  # until its first claim has come back, and it starts what it is told of
                first = world.psp.capture(f"first-{number}", 1999)
                told = await world.psp.send(world.psp.event(first, url=f"{ending.url}/webhooks/shop"))
                assert told is not None
                id_ = UUID(told.json()["operation_id"])
                if await watch.ask(
                    "SELECT revision > 1 AND updated_at = created_at FROM operations WHERE id = $1", id_
                ):
                    break
            async with watch.holding() as holding:
                await holding.execute("LOCK TABLE events IN SHARE MODE")
                payments = [world.psp.capture(f"order-{number}", 1999) for number in range(3)]
                events = [world.psp.event(one, url=f"{ending.url}/webhooks/shop") for one in payments]
                telling = asyncio.gather(*(world.psp.send(event) for event in events))
                await watch.until_blocked(STORING)
                ending.send(signal.SIGTERM)
                await until(lambda: refuses(ending.url))
            answers = await telling
            assert await ending.ended() == 0
        ids = [answer.json()["operation_id"] for answer in answers if answer is not None]
        assert len(ids) == 3
        async with world.working(**CONFIG):
            for one in ids:
                assert (await service.settled(one))["status"] == "succeeded"
                assert await service.outcomes(one) == [("purchase", "do", "done")]
                assert "lease_expired" not in await service.causes(one)
    assert sorted(v.order_id for v in world.supplier.desk.visits if v.order_id.startswith("order")) == [
        "order-0",
        "order-1",
        "order-2",
    ]


async def refuses(url: str) -> bool:
    """Whether a server takes no connection any more."""
    port = int(url.rsplit(":", 1)[1])
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return True
    writer.close()
    return False


FEW: dict[str, dict[str, Any]] = {
    "one place": {"concurrency": 1},
    "one slot": {"agent": "max_concurrency = 1"},
    "one of both": {"concurrency": 1, "agent": "max_concurrency = 1"},
    "two places, one slot": {"concurrency": 2, "agent": "max_concurrency = 1"},
}


@pytest.mark.parametrize("few", FEW)
async def test_where_there_is_not_room_for_all_the_others_wait_and_each_is_bought_once(world: World, few: str) -> None:
    """A first half that is started at once, a second that comes while it is out."""
    async with serving(world, **FEW[few]) as service:
        first = await asyncio.gather(*(service.pay(f"order-{number}") for number in range(10)))
        second = await asyncio.gather(*(service.pay(f"order-{number}") for number in range(10, 20)))
        assert {(await service.settled(one))["status"] for one in [*first, *second]} == {"succeeded"}
        for one in (*first, *second):
            assert await service.outcomes(one) == [("purchase", "do", "done")]
    assert sorted(visit.order_id for visit in world.supplier.desk.visits) == sorted(f"order-{n}" for n in range(20))


async def test_an_open_breaker_starts_nothing_and_one_of_many_new_payments_is_its_probe(
    world: World, claimed: list[str]
) -> None:
    world.supplier.desk.script("order-0", Ware.PURCHASE, Action.DO, (DOWN, WELL))
    sagas = saga_toml("purchase", "purchase", attempts=5)
    breaker = 'breaker = { failures = 1, open = "2s" }'
    async with serving(world, agent=breaker, sagas=sagas) as service:
        down = await service.pay("order-0")
        await service.until_outcomes(down, ["unavailable"])
        ids = [await service.pay(f"order-{number}") for number in range(1, 6)]
        assert len(world.supplier.desk.visits) == 1
        for one in ids:
            assert (await service.settled(one))["status"] == "succeeded"
            assert (await service.outcomes(one)) == [("purchase", "do", "done")]
        assert (await service.settled(down))["status"] == "succeeded"
    assert "order-0" in claimed
    assert set(claimed) >= {f"order-{number}" for number in range(1, 6)}


LOCAL = """
[[sagas.purchase.steps]]
name = "reserve"
do = { local = "tests.road.test_started_at_once:reserve" }
undo = false
"""
MISSING = PURCHASE.replace('path = "/purchases"', 'path = "/purchases?of={event.data.nobody}"')


async def reserve(call: dict[str, Any], _connection: Any) -> dict[str, Any]:
    """A step in Python that does nothing."""
    return {"order": call["order_id"]}


@pytest.mark.parametrize(
    ("sagas", "status", "visits"),
    [
        (PURCHASE + LOCAL, "succeeded", 1),
        (saga_toml("purchase") + LOCAL, "succeeded", 0),
        (saga_toml("purchase"), "succeeded", 0),
        (MISSING, "refunded", 0),
    ],
    ids=["local second", "local first", "no step", "refused"],
)
async def test_what_cannot_be_made_ready_goes_the_ordinary_way(
    world: World, claimed: list[str], sagas: str, status: str, visits: int
) -> None:
    async with serving(world, sagas=sagas) as service:
        operation = await service.pay("order-1")
        assert (await service.settled(operation))["status"] == status
    assert len(world.supplier.desk.visits) == visits
    assert "order-1" in claimed


async def test_a_large_event_goes_the_ordinary_way(world: World, claimed: list[str]) -> None:
    async with serving(world) as service:
        ids = []
        for name, more in (("small", 0), ("large", 70_000)):
            payment = world.psp.capture(name, 1999)
            event = world.psp.event(payment)
            body = json.dumps({**json.loads(event.body), "more": "x" * more}).encode()
            told = await world.psp.send(event.__class__(event.id, event.payment_id, body, event.url))
            assert told is not None
            ids.append(told.json()["operation_id"])
        for one in ids:
            assert (await service.settled(one))["status"] == "succeeded"
            assert await service.causes(one) == WAY
    assert claimed == ["large"]


async def test_new_payments_do_not_overtake_a_backlog_and_the_backlog_is_worked_off(world: World) -> None:
    """Trap 46: a process that starts up meets what waited, and a stream of what is new."""
    async with world.serving(Role.API) as service:
        old = [await service.pay(f"old-{number:02}") for number in range(40)]
    async with world.serving(concurrency=4, poll_interval="10m") as service:
        new = await asyncio.gather(*(service.pay(f"new-{number:02}") for number in range(20)))
        for one in (*old, *new):
            assert (await service.settled(one))["status"] == "succeeded"
            assert await service.causes(one) == WAY
        await until(lambda: at_rest(world))
    visits = [visit.order_id for visit in world.supplier.desk.visits]
    assert len(visits) == len(set(visits)) == 60
    assert [visit[:3] for visit in visits[:36]] == ["old"] * 36


ADYEN = """
[sources.adyen]
provider = "adyen"
secrets = ["{secret}"]
saga = "purchase"
merchant_account = "Shop"
"""


def item(reference: str, payment: str, amount: int = 1999, event: str = "AUTHORISATION") -> dict[str, Any]:
    """An item of a batch."""
    said = {"amount": {"value": amount, "currency": "EUR"}, "pspReference": payment, "eventCode": event}
    said |= {"merchantAccountCode": "Shop", "merchantReference": reference, "success": "true", "originalReference": ""}
    return {"NotificationRequestItem": {**said, "eventDate": "2026-01-05T09:31:00+00:00", "additionalData": {}}}


async def batch(world: World, service: Client, items: Sequence[dict[str, Any]]) -> None:
    """Delivers a signed batch."""
    source = world.services[-1].context.settings.sources["adyen"]
    body = json.dumps({"live": "true", "notificationItems": items}).encode()
    signed = provider("adyen").sign(source, body, datetime.now(UTC), "")
    answer = await service.http.post("/webhooks/adyen", content=signed.body, headers=dict(signed.headers))
    assert (answer.status_code, answer.text) == (200, "[accepted]")


async def test_each_payment_of_a_batch_is_started_once(world: World, claimed: list[str]) -> None:
    """Two payments, one of them told twice and once with another amount, something that is none, and one unreadable."""
    items = [
        item("order-1", "A"),
        item("order-2", "B"),
        item("order-1", "A", event="AUTHORISATION"),
        item("order-2", "B", amount=1),
        item("order-3", "C", event="REPORT_AVAILABLE"),
        item("order-4", "D", amount=-1),
    ]
    async with serving(world, more=ADYEN.format(secret="0f" * 32)) as service:
        await batch(world, service, items)
        for payment in ("A", "B"):
            operation = str(operation_id("adyen", payment))
            assert (await service.settled(operation))["status"] == "succeeded"
            assert await service.causes(operation) == WAY
        await batch(world, service, items)
        listed = (await service.get("/operations"))["items"]
        assert sorted(one["external_id"] for one in listed) == ["A", "B"]
    assert claimed == []
    assert sorted(visit.order_id for visit in world.supplier.desk.visits) == ["order-1", "order-2"]


async def test_on_a_database_of_several_buckets_too(bare_database_url: str, tmp_path: Path, claimed: list[str]) -> None:
    await schema.upgrade(bare_database_url, buckets=4)
    async with world_of(tmp_path, bare_database_url) as world:
        async with serving(world) as service:
            ids = await asyncio.gather(*(service.pay(f"order-{number}") for number in range(24)))
            for one in ids:
                assert (await service.settled(one))["status"] == "succeeded"
                assert await service.causes(one) == WAY
        assert len(world.supplier.desk.visits) == 24
    assert claimed == []
