"""A step in Python: the function and the record of it in one transaction, so that its effects happen exactly once."""

import logging
import random
from datetime import timedelta
from uuid import uuid4

from app.agents import Exchange, run_local
from app.db.decisions import Decision
from app.db.journal import AttemptEnd
from app.db.local import LocalTransaction, OrderBusy, RolledBack
from app.errors import DatabaseUnavailable
from app.saga import Sending, advance
from app.saga.definition import LocalCall
from app.saga.model import LastError, Operation, Outcome, Transition
from app.saga.signals import StepDone, StepUnavailable
from app.worker.execution import Execution, persist

logger = logging.getLogger(__name__)

# How soon an order is tried again whose lock another local step holds.
BUSY_WAIT = timedelta(milliseconds=200)


class _NotDone(Exception):
    """The function did not carry the step out: what it has written is rolled back, then its answer is recorded."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange


async def run_in_transaction(
    execution: Execution, operation: Operation, sending: Sending, call: LocalCall
) -> Operation | None:
    """Runs a local step; returns the operation as it was left, or None where it has to be looked at again."""
    parts = execution.parts
    step = LocalStep(execution, sending, call)
    if parts.draining.is_set():
        return await execution.defer(operation, parts.clock.now())
    try:
        return await parts.local.run(operation.order_id, step.work, call.timeout)
    except OrderBusy:
        return await execution.defer(operation, parts.clock.now() + BUSY_WAIT * (1 + random.random()))
    except _NotDone as error:
        exchange = error.exchange
    except (RolledBack, DatabaseUnavailable) as error:
        if step.transition is not None and await persist(step.has_landed):
            return step.transition.after
        exchange = unavailable(f"rolled back: {error}")
    except Exception as error:
        # As when the function has swallowed an error of the database, in whose transaction nothing can be written then.
        logger.warning("local_step_failed", exc_info=True, extra={"function": call.local})
        exchange = unavailable(f"rolled back: {type(error).__name__}: {error}")
    if not step.begun:
        return await execution.defer(operation, parts.clock.now())
    return await execution.finish(sending.operation, sending, exchange)


class LocalStep:
    """One run of a local step inside its transaction."""

    def __init__(self, execution: Execution, sending: Sending, call: LocalCall) -> None:
        self._execution = execution
        self._sending = sending
        self._call = call
        self.begun = False
        self.transition: Transition | None = None
        self.decision: Decision | None = None

    async def work(self, transaction: LocalTransaction) -> Operation:
        """Puts the attempt on record, runs the function, and writes what follows in the function's transaction."""
        execution, sending = self._execution, self._sending
        if execution.parts.draining.is_set():
            raise RolledBack("the process ends")
        request = {"method": "LOCAL", "url": self._call.local, "body": None}
        if not await execution.begin(sending, request):
            raise RolledBack("the operation has changed before the step ran")
        self.begun = True
        document = execution.document(sending)
        exchange = await run_local(self._call, document, transaction.connection, execution.parts.clock)
        if not isinstance(exchange.answer, StepDone):
            raise _NotDone(exchange)
        now = execution.parts.clock.now()
        self.transition = advance(execution.saga, sending.operation, exchange.answer, now, random.random())
        if self.transition is None:
            raise RolledBack("nothing follows from the step")
        self.decision = Decision(
            id=uuid4(),
            operation_id=sending.operation.id,
            serial=sending.operation.serial,
            at=now,
            transition=self.transition,
            actor=execution.parts.worker,
            attempt=AttemptEnd(sending.operation.lease, exchange.outcome, exchange.response, now),
        )
        await transaction.record(self.decision)
        return self.transition.after

    async def has_landed(self) -> bool:
        """Whether the commit whose answer was lost is on disk."""
        transition, decision = self.transition, self.decision
        if transition is None or decision is None:
            return False
        return await self._execution.parts.local.landed(transition.after, decision.id)


def unavailable(detail: str) -> Exchange:
    """All that the step has written was rolled back: it was certainly not carried out."""
    answer = StepUnavailable(LastError(Outcome.UNAVAILABLE, detail), arrived=False)
    return Exchange(answer, None, Outcome.UNAVAILABLE)
