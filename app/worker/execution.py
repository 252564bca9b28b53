"""The work on one claim: what is recorded before a call and after it.

Whoever loses a race at the door loads the operation and decides again, so that a cancel never swallows a purchase that
has come back meanwhile.
"""

import asyncio
import json
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from app.agents import Agents, Exchange
from app.clock import Clock
from app.db.claim import Claimed
from app.db.engine import AsyncEngine
from app.db.journal import AttemptEnd, AttemptStart
from app.db.local import LocalTransactions
from app.db.sagas import Sagas
from app.db.store import Store
from app.errors import DatabaseUnavailable
from app.ids import fresh
from app.saga import Sending, advance
from app.saga.call import call_document
from app.saga.definition import Saga
from app.saga.evidence import went_out
from app.saga.model import Action, Json, LastError, Operation, Status, Transition
from app.saga.signals import Deferred, LateAnswer, RefundHeard, RefundsListed, StepRejected
from app.worker.lease import Lease, Leases

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Parts:
    """What an execution works with."""

    engine: AsyncEngine
    store: Store
    sagas: Sagas
    agents: Agents
    local: LocalTransactions
    leases: Leases
    clock: Clock
    worker: str
    slot_wait: timedelta
    draining: asyncio.Event


def start_of(parts: Parts, sending: Sending, request: Json, at: datetime) -> AttemptStart:
    """The attempt of a call as it is put on record at `at`."""
    return AttemptStart(
        operation_id=sending.operation.id,
        lease=sending.operation.lease,
        step=sending.step,
        action=sending.action,
        attempt=sending.attempt,
        key=sending.key,
        worker=parts.worker,
        request=request,
        at=at,
    )


class Execution:
    """The work on one claim."""

    def __init__(self, parts: Parts, claimed: Claimed, lease: Lease, saga: Saga) -> None:
        self.parts = parts
        self.saga = saga
        self.refunds_told = claimed.refunds_told
        self._lease = lease
        self._event = claimed.event

    def is_ours(self, operation: Operation) -> bool:
        """Whether the operation is still under our claim."""
        return operation.status is Status.PROCESSING and operation.lease == self._lease.number

    def surely_held(self) -> bool:
        """Whether a call may go out now."""
        return self.parts.leases.surely_holds(self._lease)

    async def reload(self, operation: Operation) -> Operation | None:
        """The operation as it is stored now."""
        return await persist(lambda: self.parts.store.load(operation.id))

    @property
    def event(self) -> Json:
        """The webhook's JSON that made the operation; None once retention has emptied it."""
        return None if self._event is None else json.loads(self._event)

    def document(self, sending: Sending) -> dict[str, Json]:
        """The document that the call is made from."""
        return call_document(sending.operation, sending.step, self.event, undo=sending.action is Action.UNDO)

    async def begin(self, sending: Sending, request: Json) -> bool:
        """Puts the call on record, if the operation is still ours and as it was."""
        if not self.surely_held():
            return False
        start = start_of(self.parts, sending, request, self.parts.clock.now())
        return await persist(lambda: self.parts.store.begin(sending.operation, start))

    async def defer(self, operation: Operation, until: datetime, error: LastError | None = None) -> Operation | None:
        """Gives the claim back uncounted, as nothing was sent; None where the race for that was lost.

        Those that are put off together come back spread over a poll interval, not all in one moment.

        Args:
            error: what stands in the way, where that is worth telling.
        """
        return await self.decide(operation, Deferred(until + self.parts.slot_wait * random.random(), error))

    async def decide(
        self, operation: Operation, signal: Deferred | StepRejected | RefundsListed | RefundHeard
    ) -> Operation | None:
        """Records what follows without a call; None where the race for that was lost.

        It is never a late answer: no sending waits for it, so it is no evidence for one.
        """
        transition = advance(self.saga, operation, signal, self.parts.clock.now(), random.random())
        if transition is not None and await self.record(transition):
            return transition.after
        return None

    async def finish(self, operation: Operation, sending: Sending, exchange: Exchange) -> Operation | None:
        """Records an answer and what follows from it; where the lease was taken over, it is evidence."""
        answer, now = exchange.answer, self.parts.clock.now()
        attempt = AttemptEnd(self._lease.number, exchange.outcome, exchange.response, now)
        current: Operation | None = operation
        while current is not None:
            ours = self.is_ours(current)
            if ours and exchange.sent_at is not None:
                current = went_out(current, sending.step, sending.action, exchange.sent_at)
            signal = answer if ours else LateAnswer(sending.step, sending.action, answer, sending.key)
            transition = advance(self.saga, current, signal, now, random.random())
            if transition is None:
                await persist(partial(self.parts.store.end_attempt, operation, attempt))
                return None
            if await self.record(transition, attempt, at=now):
                return transition.after
            current, now = await self.reload(current), self.parts.clock.now()
        return None

    async def record(
        self, transition: Transition, attempt: AttemptEnd | None = None, *, at: datetime | None = None
    ) -> bool:
        """Writes a decision, with the end of our call if it had one; whether it has landed.

        Args:
            at: when it was made; now, where that is not given.
        """
        # One id and one time for all tries: or a try that had landed, its commit's answer lost, would look like a race
        # that was lost, and its answer would count a second time, as a late one.
        store, actor, id_, at = self.parts.store, self.parts.worker, fresh(), at or self.parts.clock.now()
        landed = await persist(lambda: store.record(transition, actor=actor, attempt=attempt, at=at, id=id_))
        after = transition.after
        if landed and self.is_ours(transition.before):
            self._lease.number = after.lease  # one more where another call follows under the same claim
        if landed and logger.isEnabledFor(logging.DEBUG):
            logger.debug(
                transition.cause,
                extra={"operation_id": after.id, "step": after.step, "phase": after.phase, "status": after.status},
            )
        return landed


async def persist(write: Callable[[], Awaitable[Result]]) -> Result:
    """Writes, and while the database is away waits for it: an answer that came is not to be lost.

    The lease may end meanwhile; then the answer is recorded as a late one.
    """
    try:
        return await write()
    except DatabaseUnavailable:
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(DatabaseUnavailable), wait=wait_random_exponential(multiplier=0.1, max=2)
        )

    # tenacity awaits only what it sees to be a coroutine function; what makes one, as a lambda does, it does not see.
    async def written() -> Result:
        return await write()

    result: Result = await retrying(written)
    return result
