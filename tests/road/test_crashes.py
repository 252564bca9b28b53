"""Killed with SIGKILL, at each instant at which it can hurt."""

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from app.db.embedded.client import url as embedded_url
from app.db.embedded.client import wait_until_stopped
from app.identity import operation_id
from app.saga.model import Action
from app.sandbox.ledger import Deed, Entry
from app.sandbox.manners import Ware
from app.wiring import Role
from tests.db.embedded.holding import place_of, postmaster
from tests.postgres import scratch
from tests.road.service import Client, Process, arrived, client_of
from tests.road.watch import BEGIN, RECORD, STORE, Watch, watching
from tests.road.world import BOOKING, World

CONFIG: dict[str, Any] = {"saga": "booking", "sagas": BOOKING, "lease": "1s", "timeout": "20s"}


@dataclass(frozen=True)
class Instant:
    """Which call of a booking the worker is killed at.

    Args:
        manners: what makes the order come so far.
        lease: the number of the claim that makes this call.
        ware, action: the call as the partner sees it.
        ends: how the operation must end.
        call: the call as the attempts show it.
    """

    manners: str
    lease: int
    ware: Ware
    action: Action
    ends: str
    call: tuple[str, str]


DO = Instant("", 1, Ware.FLIGHT, Action.DO, "succeeded", ("flight", "do"))
UNDO = Instant("-hotel-refused", 3, Ware.FLIGHT, Action.UNDO, "refunded", ("flight", "undo"))
REFUND = Instant("-flight-refused", 2, Ware.REFUND, Action.DO, "refunded", ("payment", "undo"))


async def killed_at(world: World, watch: Watch, service: Client, worker: Process, instant: Instant) -> list[str]:
    """One operation before its call, one in the middle of it, one between its answer and the record of it: then SIGKILL."""
    before, during, after = (f"trip-{name}{instant.manners}" for name in ("before", "during", "after"))
    out = world.desk(instant.ware).hold(during, instant.ware, instant.action)
    answered = world.desk(instant.ware).hold(after, instant.ware, instant.action, after=True)
    ids = {during: await service.pay(during), after: await service.pay(after)}
    await arrived(out, answered)
    payment = world.psp.capture(before, 1999)
    ids[before] = str(operation_id("shop", payment.id))
    async with contextlib.AsyncExitStack() as held:
        await held.enter_async_context(watch.before_the_call(ids[before], instant.lease))
        await world.psp.send(world.psp.event(payment))
        await watch.until_blocked(BEGIN)
        await held.enter_async_context(watch.before_the_record(ids[after]))
        answered.released.set()
        await watch.until_blocked(RECORD)
        await worker.kill()
        for words in (BEGIN, RECORD):
            await watch.end_blocked(words)
    out.released.set()
    return [ids[before], ids[during], ids[after]]


@pytest.mark.parametrize("instant", [DO, UNDO, REFUND], ids=["do", "undo", "refund"])
async def test_a_worker_killed_before_a_call_during_it_or_before_its_record_costs_nothing(
    world: World, watch: Watch, instant: Instant
) -> None:
    """Trap 1: killed between the call and its record, another worker must not buy again as if nothing had been sent.

    The call is on record from before it goes out, so whoever takes over knows that it may have been carried out, and
    repeats it with the same key. Killed before that, nothing is on record, nothing was sent, and nothing was taken: the
    call goes on record in the transaction of its claim.
    """
    async with world.serving(Role.API, **CONFIG) as service:
        async with world.process(Role.WORKER, **CONFIG) as worker:
            before, during, after = await killed_at(world, watch, service, worker, instant)
        async with world.working(**CONFIG):
            ended = [await service.settled(one) for one in (before, during, after)]
        assert [one["status"] for one in ended] == [instant.ends] * 3
        for ledger, deed, ware in (
            (world.supplier.ledger, Deed.BOUGHT, Ware.FLIGHT),
            (world.supplier.ledger, Deed.CANCELLED, Ware.FLIGHT),
            (world.psp.ledger, Deed.REFUNDED, "payment"),
        ):
            per_order = [len(ledger.of(deed, order_id=one["order_id"], ware=ware)) for one in ended]
            assert max(per_order) <= 1, (deed, per_order)
            assert len(set(per_order)) == 1, (deed, per_order)
        for one, crashes in ((before, 0), (during, 1), (after, 1)):
            calls = [call for call in await service.attempts(one) if (call["step"], call["action"]) == instant.call]
            assert [call["outcome"] for call in calls] == ["crashed"] * crashes + ["done"]
            assert [call["attempt"] for call in calls] == list(range(1, crashes + 2))
            assert len({call["idempotency_key"] for call in calls}) == 1
            assert (await service.causes(one)).count("lease_expired") == crashes


@pytest.fixture
def data() -> Iterator[Path]:
    """The folder of an embedded PostgreSQL, whose server's user can pass through to it where we are root."""
    folder = Path(tempfile.mkdtemp(prefix="makegood-t-", dir=scratch())).resolve()
    folder.chmod(0o711)
    yield folder / "data"
    wait_until_stopped(place_of(folder / "data"))
    shutil.rmtree(folder)


async def test_all_that_was_acknowledged_is_there_after_the_whole_service_and_its_database_were_killed(
    world: World, data: Path
) -> None:
    """Invariant I2: a 2xx has left only for what is on disk, though everything is killed amid fifty webhooks."""
    config = {"lease": "1s", "more": f'\n[database]\ndata_dir = "{data}"\n'}
    payments = [world.psp.capture(f"order-{number}", 1999) for number in range(50)]
    few = asyncio.Semaphore(5)

    async def tell(payment: Entry, url: str) -> None:
        async with few:
            await world.psp.tell(world.psp.event(payment, url=f"{url}/webhooks/shop"))

    async with world.command(**config) as killed, contextlib.AsyncExitStack() as looking:
        telling = [asyncio.create_task(tell(payment, killed.url)) for payment in payments]
        await asyncio.wait(telling[:15])
        watch = await looking.enter_async_context(watching(embedded_url(place_of(data))))
        holding = await looking.enter_async_context(watch.holding())
        await holding.execute("LOCK TABLE events")
        await watch.until_blocked(STORE)  # some are not on disk, and must not be acknowledged
        os.kill(postmaster(place_of(data)), signal.SIGKILL)
        await killed.kill()
    for task in telling:
        task.cancel()
    await asyncio.gather(*telling, return_exceptions=True)
    acknowledged = {one.event.payment_id for one in world.psp.deliveries if one.status in {200, 202}}
    async with (
        world.command(**config) as again,
        client_of(again.url) as http,
    ):
        service = Client(http, world.psp)
        kept = {item["external_id"] for item in (await service.get("/operations?limit=200"))["items"]}
        assert 15 <= len(acknowledged) < 50
        assert acknowledged <= kept
        await asyncio.gather(*(tell(payment, again.url) for payment in payments))
        ids = [str(operation_id("shop", payment.id)) for payment in payments]
        ended = await asyncio.gather(*(service.settled(one) for one in ids))
        assert {one["status"] for one in ended} == {"succeeded"}
    bought = [entry.id for entry in world.supplier.ledger.of(Deed.BOUGHT)]
    assert sorted(bought) == sorted(ids)
    assert not world.psp.ledger.of(Deed.REFUNDED)
