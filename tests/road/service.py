"""A service as its users have it: its API with an operator's key, and its process with its signals."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx

from app.sandbox import PaymentProvider
from app.sandbox.desk import Hold

KEY = "mg_operator"

# Seconds on a busy machine: a bound on waiting, not a time that anything takes.
BOUND = 30


@dataclass
class Process:
    """A service that is a process of its own."""

    url: str
    pid: int
    wait: Callable[[], int]

    def send(self, number: signal.Signals) -> None:
        """Sends a signal."""
        os.kill(self.pid, number)

    async def ended(self) -> int:
        """The exit status, once it has ended."""
        return await asyncio.to_thread(self.wait)

    async def kill(self) -> None:
        """As a machine dies: nothing of it can do anything any more when this returns."""
        self.send(signal.SIGKILL)
        assert await self.ended() == -signal.SIGKILL


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Waits until something holds that can only be asked, again and again."""
    async with asyncio.timeout(BOUND):
        while not await holds():
            await asyncio.sleep(0.01)


async def arrived(*holds: Hold) -> None:
    """Waits until the calls that are held have come."""
    async with asyncio.timeout(BOUND):
        await asyncio.gather(*(hold.arrived.wait() for hold in holds))


@contextlib.asynccontextmanager
async def client_of(url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a service with an operator's key."""
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client:
        yield client


@dataclass
class Operator:
    """What an operator does with a service."""

    http: httpx.AsyncClient

    async def get(self, path: str) -> Any:
        """The JSON of a GET."""
        answer = await self.http.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def settled(self, operation_id: str) -> dict[str, Any]:
        """The operation once it is final or held."""
        answer = await self.http.get(f"/operations/{operation_id}", headers={"Prefer": "wait=20"})
        operation: dict[str, Any] = answer.json()
        assert operation["status"] in {"succeeded", "refunded", "held"}, operation
        return operation

    async def attempts(self, operation_id: str) -> list[dict[str, Any]]:
        """The calls of an operation, oldest first."""
        items: list[dict[str, Any]] = (await self.get(f"/operations/{operation_id}/attempts"))["items"]
        return items

    async def outcomes(self, operation_id: str) -> list[tuple[str, str, str | None]]:
        """The calls of an operation as (step, action, outcome), oldest first."""
        return [(one["step"], one["action"], one["outcome"]) for one in await self.attempts(operation_id)]

    async def until_outcomes(self, operation_id: str, wanted: list[str | None]) -> None:
        """Waits until the calls of an operation have ended so."""

        async def ended() -> bool:
            return [one["outcome"] for one in await self.attempts(operation_id)] == wanted

        await until(ended)

    async def recovered(self) -> None:
        """Waits until it says that it is ready."""

        async def ready() -> bool:
            return (await self.http.get("/readyz")).is_success

        await until(ready)

    async def causes(self, operation_id: str) -> list[str]:
        """Why each revision of an operation was made, oldest first."""
        return [one["cause"] for one in (await self.get(f"/operations/{operation_id}/history"))["items"]]

    async def show(self, operation_id: str) -> dict[str, Any]:
        """The operation as it is now."""
        operation: dict[str, Any] = await self.get(f"/operations/{operation_id}")
        return operation

    async def until(self, operation_id: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The operation once something holds of it."""
        async with asyncio.timeout(BOUND):
            while not holds(operation := await self.show(operation_id)):
                await asyncio.sleep(0.01)
        return operation

    async def post(self, path: str, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
        """An operator's call."""
        return await self.http.post(path, json=body, headers=headers)


@dataclass
class Client(Operator):
    """An operator who also pays, at the sandbox's provider."""

    psp: PaymentProvider

    async def pay(self, order_id: str, amount: int = 1999) -> str:
        """A payment that is captured and told of once; the id of its operation."""
        payment = self.psp.capture(order_id, amount)
        answer = await self.psp.send(self.psp.event(payment))
        assert answer is not None
        assert answer.status_code == 202, answer.text
        return str(answer.json()["operation_id"])
