"""A process that works and is told of payments starts them as it stores them: as by the long way, and never twice."""

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app.db import schema
from app.identity import operation_id
from app.providers import provider
from app.saga.model import Action
from app.sandbox.ledger import Deed
from app.sandbox.manners import Ware
from app.wiring import Role
from tests.road.at_once import CONFIG, WAY, serving
from tests.road.line import Fate, Line
from tests.road.service import Client, arrived
from tests.road.watch import Watch
from tests.road.world import World, world_of


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


async def test_each_payment_of_a_batch_whose_provider_tells_of_refunds_is_claimed_once(
    world: World, claimed: list[str]
) -> None:
    """A refund may have been told before its payment, so nothing is started before it has heard of that.

    Two payments, one told twice and one with another amount too, something that is none, and one that is unreadable.
    """
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
    assert sorted(claimed) == ["order-1", "order-2"]
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
