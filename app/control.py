"""Operators' retry, cancel and resolve: what REST, the console and the command line all call.

An operator goes through the same door as the worker: he decides on the operation as it is stored, and his decision
lands only if it is still that. Where a worker was first, it is loaded and decided upon again, so neither swallows the
other; where the operator said which revision he has seen, he is told that it has moved.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from uuid import UUID

from app.clock import Clock
from app.db import reads
from app.db.engine import AsyncEngine
from app.db.filters import OperationFilter
from app.db.operator_requests import OperatorReceipt, OperatorRequests, answered_once
from app.db.sagas import Sagas
from app.db.store import Store
from app.db.wakeup import Wakeup
from app.errors import NotAllowed, NotFound, RevisionMoved
from app.saga import advance
from app.saga.definition import Saga
from app.saga.model import Operation, Phase, Status, Transition
from app.saga.operator import STANDING
from app.saga.signals import CancelRequested, RetryRequested, Signal

MOST_AT_ONCE = 1_000
# As many as share a group commit well, and too few to hold up the workers' own writes.
SIDE_BY_SIDE = 32

CANCELLABLE = frozenset({Status.PENDING, Status.PROCESSING, Status.ERROR, Status.WAITING})

# An operator's wish takes effect at once: no part of its decision waits, so there is nothing to spread.
NO_JITTER = 0.0

Answer = Callable[[Saga, Operation], OperatorReceipt]


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of a call for many operations.

    Args:
        matched: how many the filters name.
        changed: how many changed; in a dry run, how many would.
    """

    matched: int
    changed: int


class Control:
    """What operators may do."""

    def __init__(self, engine: AsyncEngine, store: Store, sagas: Sagas, clock: Clock, wakeup: Wakeup) -> None:
        self._engine = engine
        self._store = store
        self._sagas = sagas
        self._clock = clock
        self._wakeup = wakeup
        self.requests = OperatorRequests(engine)

    async def act(
        self,
        id_: UUID,
        signal: Signal,
        *,
        actor: str,
        note: str | None = None,
        if_match: Callable[[int], bool] | None = None,
        answer: Answer | None = None,
    ) -> Operation:
        """Does what an operator asks for; returns the operation as it then is.

        Args:
            actor: who asks, for the history: the name of the API key.
            note: why, for the history.
            if_match: whether a revision is one that the operator has decided on.
            answer: makes the receipt that is stored with the effect, in one transaction.

        Raises:
            NotFound: there is no such operation.
            NotAllowed, InvalidRequest: its status does not allow it; a step is named that there is not.
            RevisionMoved: it is at another revision than the operator has decided on.
            IdempotencyKeyInUse: another process has answered the call meanwhile; nothing was done.
            DatabaseUnavailable: the database did not take it; it may have been written.
        """
        while True:
            operation = await self._load(id_)
            if if_match is not None and not if_match(operation.revision):
                raise RevisionMoved(f"the operation is at revision {operation.revision}")
            saga = await self._sagas.get(operation.saga_hash)
            transition = self._decide(saga, operation, signal)
            if transition is None:
                if answer:
                    await self.requests.keep(answer(saga, operation), self._clock.now())
                return operation
            receipt = answer(saga, transition.after) if answer else None
            if await self._land(transition, actor, note, receipt):
                return transition.after

    async def act_on_all(
        self, named: OperationFilter, signal: RetryRequested | CancelRequested, *, actor: str, note: str | None = None
    ) -> Tally:
        """Does what an operator asks for to all operations that the filters name, 1,000 at most.

        Each is looked at again when its turn comes: one that the filters do not name any more is left alone.

        Raises:
            DatabaseUnavailable: the database went away; some may have changed.
        """
        matched, candidates = await self._named(named, signal)
        turns = asyncio.Semaphore(SIDE_BY_SIDE)

        async def turn(id_: UUID) -> bool:
            async with turns:
                return await self._act_while_named(id_, named, signal, actor, note)

        changed = await asyncio.gather(*(turn(operation.id) for operation in candidates))
        return Tally(matched, sum(changed))

    async def count(self, named: OperationFilter, signal: RetryRequested | CancelRequested) -> Tally:
        """How many operations the filters name, and how many of them `act_on_all` would change; changes none.

        Raises:
            DatabaseUnavailable: the database is away.
        """
        matched, candidates = await self._named(named, signal)
        changes = [await self._decide_if_allowed(operation, signal) is not None for operation in candidates]
        return Tally(matched, sum(changes))

    async def _load(self, id_: UUID) -> Operation:
        operation = await self._store.load(id_)
        if operation is None:
            raise NotFound("there is no such operation")
        return operation

    async def _land(
        self, transition: Transition, actor: str, note: str | None, receipt: OperatorReceipt | None = None
    ) -> bool:
        at = transition.after.updated_at
        with answered_once():
            landed = await self._store.record(transition, actor=actor, note=note, receipt=receipt, at=at)
        if landed:
            self._wakeup.signal()
        return landed

    async def _named(self, named: OperationFilter, signal: Signal) -> tuple[int, list[Operation]]:
        """How many operations the filters name, and those of them that the signal may change at all."""
        matched = await reads.count(self._engine, named)
        changeable = _changeable(named, signal)
        if changeable is None:
            return matched, []
        return matched, await reads.operations(self._engine, changeable, MOST_AT_ONCE)

    def _decide(self, saga: Saga, operation: Operation, signal: Signal) -> Transition | None:
        """The decision, dated: so that the answer, and its receipt, say what will be read next."""
        now = self._clock.now()
        transition = advance(saga, operation, signal, now, NO_JITTER)
        return transition and replace(transition, after=replace(transition.after, updated_at=now))

    async def _decide_if_allowed(self, operation: Operation, signal: Signal) -> Transition | None:
        """The decision on one of many; None where it is not allowed or changes nothing."""
        saga = await self._sagas.get(operation.saga_hash)
        try:
            return self._decide(saga, operation, signal)
        except NotAllowed:
            return None

    async def _act_while_named(
        self, id_: UUID, named: OperationFilter, signal: Signal, actor: str, note: str | None
    ) -> bool:
        while True:
            operation = await self._load(id_)
            if not named.names(operation):
                return False
            transition = await self._decide_if_allowed(operation, signal)
            if transition is None:
                return False
            if await self._land(transition, actor, note):
                return True


def _changeable(named: OperationFilter, signal: Signal) -> OperationFilter | None:
    """The filters, less the operations that the signal cannot change: or a page of those would hide the others.

    None where nothing is left.
    """
    retry = isinstance(signal, RetryRequested)
    statuses = STANDING if retry else CANCELLABLE
    if named.statuses:
        statuses &= named.statuses
    if not statuses or (not retry and named.phase is Phase.REFUND):
        return None
    return replace(named, statuses=statuses, phase=named.phase if retry else Phase.PURCHASE)
