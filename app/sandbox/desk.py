"""The desk where a partner of the sandbox takes its requests: idempotency keys, manners, holds.

A request is carried out at most once under its key, whatever then becomes of the answer.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from app.saga.model import Action, Json
from app.sandbox.manners import WELL, Turn, Ware, manners_of
from app.sandbox.server import drop


@dataclass(frozen=True, slots=True)
class Visit:
    """One sending, as it arrived.

    Args:
        id: of the thing that it is about; its turns are counted by it.
        attempt: what `Makegood-Attempt` said.
    """

    ware: Ware
    action: Action
    id: str
    order_id: str
    key: str | None = None
    attempt: str | None = None


class Refusal(Exception):
    """The partner's books do not allow it."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


@dataclass(slots=True)
class Hold:
    """Keeps one sending waiting, for tests: before it is carried out, or carried out and not yet answered."""

    after: bool = False
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self) -> None:
        """Says that the sending is here, then waits for its release."""
        self.arrived.set()
        await self.released.wait()


@dataclass(frozen=True, slots=True)
class _Kept:
    fingerprint: bytes
    answer: Json


class Desk:
    """Takes requests and answers them as the order's manners, or a test's script, have it.

    Args:
        patience: seconds until a late answer: more than the caller's timeout.
    """

    def __init__(self, patience: float) -> None:
        self.visits: list[Visit] = []
        self._patience = patience
        self._scripts: dict[tuple[str, Ware, Action], Sequence[Turn]] = {}
        self._holds: dict[tuple[str, Ware, Action], Hold] = {}
        self._met: Counter[tuple[Ware, Action, str]] = Counter()
        self._running: set[str] = set()
        self._kept: dict[str, _Kept] = {}

    def script(self, order_id: str, ware: Ware, action: Action, turns: Sequence[Turn]) -> None:
        """Says what the sendings for an order meet, one after the other; the last turn serves for all that follow."""
        self._scripts[order_id, ware, action] = turns

    def hold(self, order_id: str, ware: Ware, action: Action, *, after: bool = False) -> Hold:
        """Keeps the next sending waiting until it is released; `after`: when it was carried out already."""
        self._holds[order_id, ware, action] = Hold(after)
        return self._holds[order_id, ware, action]

    async def take(self, request: Request, visit: Visit, act: Callable[[], Json]) -> Response:
        """Answers one request.

        Args:
            act: carries it out and returns the answer's JSON; raises Refusal where the books do not allow it.
        """
        self.visits.append(visit)
        try:
            if visit.action is Action.LOOKUP:
                return await self._wire(request, self._turn(visit), act)
            return await self._keyed(request, visit, act)
        except Refusal as refusal:
            return JSONResponse({"detail": refusal.detail}, refusal.status)

    async def _keyed(self, request: Request, visit: Visit, act: Callable[[], Json]) -> Response:
        if not visit.key:
            raise Refusal(400, "an Idempotency-Key is missing")
        if visit.key in self._running:
            raise Refusal(409, "the first request with this Idempotency-Key is still running")
        fingerprint = request.url.path.encode() + b"\n" + await request.body()
        kept = self._kept.get(visit.key)
        if kept is not None and kept.fingerprint != fingerprint:
            raise Refusal(422, "this Idempotency-Key came with another request before")
        self._running.add(visit.key)
        try:
            return await self._once(request, visit, fingerprint, act)
        finally:
            self._running.discard(visit.key)

    async def _once(self, request: Request, visit: Visit, fingerprint: bytes, act: Callable[[], Json]) -> Response:
        turn = self._turn(visit)
        hold = self._holds.pop((visit.order_id, visit.ware, visit.action), None)
        if hold is not None and not hold.after:
            await hold.wait()
        elif turn.late:
            await asyncio.sleep(self._patience)
        key = visit.key or ""
        if turn.acts and key not in self._kept:
            self._kept[key] = _Kept(fingerprint, act())
        if hold is not None and hold.after:
            await hold.wait()
        return await self._wire(request, turn, lambda: self._kept[key].answer)

    def _turn(self, visit: Visit) -> Turn:
        script = self._scripts.get((visit.order_id, visit.ware, visit.action))
        turns = script or manners_of(visit.order_id, visit.ware).get(visit.action, (WELL,))
        met = self._met[visit.ware, visit.action, visit.id]
        self._met[visit.ware, visit.action, visit.id] += 1
        return turns[min(met, len(turns) - 1)]

    @staticmethod
    async def _wire(request: Request, turn: Turn, answer: Callable[[], Json]) -> Response:
        if turn.status is None:
            await drop(request)
            return Response()
        if turn.status < 300:  # noqa: PLR2004 - the end of the 2xx
            return JSONResponse(answer(), turn.status)
        headers = {} if turn.retry_after is None else {"Retry-After": str(turn.retry_after)}
        return JSONResponse({"detail": turn.detail}, turn.status, headers)
