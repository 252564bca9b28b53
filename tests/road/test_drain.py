"""SIGTERM and what a worker serves: nothing new is begun, what is out comes to its end, and nothing is lost."""

import asyncio
import contextlib
import signal
from typing import Any
from uuid import UUID

import httpx
import pytest

from app.db.sagas import Sagas
from app.saga.model import Action
from app.sandbox.ledger import Deed
from app.sandbox.manners import Ware
from app.wiring import Role
from tests.road.service import BOUND, arrived, client_of, until
from tests.road.watch import CLAIM, Watch
from tests.road.world import World

LEASE_OVER = "SELECT complete_by < clock_timestamp() FROM operations WHERE id = $1"
CONFIG: dict[str, Any] = {"lease": "1s", "timeout": "20s"}


async def refuses(url: str) -> bool:
    """Whether a server takes no connection any more, or says that it is not ready.

    A connection that lies in the queue of a socket while it is closed is reset: it was taken by nobody.
    """
    async with httpx.AsyncClient() as client:
        try:
            return (await client.get(f"{url}/readyz")).status_code == 503
        except httpx.TransportError:
            return True


async def test_sigterm_takes_no_new_work_and_waits_for_the_call_that_is_out(world: World, watch: Watch) -> None:
    """Trap 8: the end of a process cancels a call in the middle, and nobody writes down what came of it."""
    async with world.serving(Role.API, **CONFIG) as service, world.process(Role.WORKER, **CONFIG) as worker:
        hold = world.supplier.desk.hold("order-1", Ware.PURCHASE, Action.DO, after=True)
        operation = await service.pay("order-1")
        await arrived(hold)
        worker.send(signal.SIGTERM)
        await until(lambda: refuses(worker.url))
        later = await service.pay("order-2")

        async def its_lease_would_be_over() -> bool:
            return bool(await watch.ask(LEASE_OVER, UUID(operation)))

        await until(its_lease_would_be_over)
        untouched = await service.show(later)
        assert (untouched["status"], untouched["revision"]) == ("pending", 1)
        async with world.working(**CONFIG):
            # Another one has taken its place, and leaves it what it still holds.
            assert (await service.settled(later))["status"] == "succeeded"
            hold.released.set()
            assert await worker.ended() == 0
        assert (await service.show(operation))["status"] == "succeeded"
        assert await service.outcomes(operation) == [("purchase", "do", "done")]
    assert len(world.supplier.ledger.of(Deed.BOUGHT)) == 2


async def test_what_a_claim_takes_while_the_process_is_told_to_end_is_given_back_uncounted(
    world: World, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A claim that is cut off may have taken what nobody then works on: it would lie there until its lease ends.

    Its call is not on record with the claim, as where the operation's saga is one that this process has not met yet.
    """
    monkeypatch.setattr(Sagas, "known", lambda *_: None)
    async with world.serving(Role.API) as service, contextlib.AsyncExitStack() as locked:
        operation = await service.pay("order-1")
        holding = await locked.enter_async_context(watch.holding())
        await holding.execute("LOCK TABLE history IN SHARE MODE")
        async with world.working() as worker:
            await watch.until_blocked(CLAIM)
            stopping = asyncio.create_task(worker.stop())
            async with asyncio.timeout(BOUND):
                await worker.context.stopping.wait()
            await locked.aclose()
            await stopping
        left = await service.show(operation)
        assert (left["status"], left["failure_count"]) == ("pending", 0)
        assert await service.causes(operation) == ["payment_received", "claimed", "deferred"]
    assert world.supplier.desk.visits == []


async def test_a_worker_serves_its_probes_alone(world: World) -> None:
    async with world.process(Role.WORKER) as worker, client_of(worker.url) as http:
        assert (await http.get("/livez")).json() == {"status": "alive"}
        assert (await http.get("/readyz")).json() == {"status": "ready"}
        for method, path in (("POST", "/webhooks/shop"), ("GET", "/operations"), ("GET", "/stats"), ("GET", "/docs")):
            answer = await http.request(method, path)
            assert answer.status_code == 404
            assert answer.headers["content-type"] == "application/problem+json"


async def test_a_second_sigterm_ends_at_once_and_loses_nothing(world: World) -> None:
    async with world.serving(Role.API, **CONFIG) as service:
        async with world.process(Role.ALL, **CONFIG) as worker, client_of(worker.url) as http:
            hold = world.supplier.desk.hold("order-1", Ware.PURCHASE, Action.DO, after=True)
            payment = world.psp.capture("order-1", 1999)
            told = await world.psp.send(world.psp.event(payment, url=f"{worker.url}/webhooks/shop"))
            assert told is not None
            operation = told.json()["operation_id"]
            await arrived(hold)
            waiting = asyncio.create_task(http.get(f"/operations/{operation}", headers={"Prefer": "wait=20"}))
            worker.send(signal.SIGTERM)
            # Who waits for an operation is answered by the end of the server, not cut off.
            assert (await waiting).json()["status"] == "processing"
            await until(lambda: refuses(worker.url))
            worker.send(signal.SIGTERM)
            assert await worker.ended() == 128 + signal.SIGTERM
        hold.released.set()
        async with world.working(**CONFIG):
            assert (await service.settled(operation))["status"] == "succeeded"
        assert await service.outcomes(operation) == [("purchase", "do", "crashed"), ("purchase", "do", "done")]
    assert len(world.supplier.ledger.of(Deed.BOUGHT)) == 1
