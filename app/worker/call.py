"""A call over HTTP, in its atomic phase.

The call is put on record, it goes out with no transaction open, and its answer is recorded together with what follows
from it.
"""

from app.agents import Exchange, Request, RequestRefused, SlotUnavailable
from app.saga import Sending, overdue
from app.saga.model import LastError, Operation, Outcome
from app.saga.signals import StepRejected, StepUnavailable
from app.worker.ahead import Prepared
from app.worker.execution import Execution


async def send(execution: Execution, operation: Operation, sending: Sending) -> Operation | None:
    """Sends; returns the operation as it was left, or None where it has to be looked at again."""
    agents, clock = execution.parts.agents, execution.parts.clock
    try:
        request = agents.render(sending, execution.document(sending), operation.traceparent)
    except RequestRefused as error:
        return await execution.decide(operation, StepRejected(LastError(Outcome.REJECTED, str(error))))
    gate = agents.gate(request.agent)
    closed_until = gate.turn_at(clock.now())
    if execution.parts.draining.is_set() or closed_until is not None:
        return await execution.defer(operation, closed_until or clock.now())
    try:
        slot = await gate.slot(execution.parts.slot_wait.total_seconds())
    except SlotUnavailable as error:
        return await execution.defer(operation, error.until)
    with slot:
        if not await execution.begin(sending, request.recorded):
            return None
        exchange = await _call(execution, sending, request)
    return await execution.finish(sending.operation, sending, exchange)


async def send_prepared(execution: Execution, prepared: Prepared) -> Operation | None:
    """As `send`, for a call that was made ready and put on record with the claim."""
    with prepared.slot:
        exchange = await _call(execution, prepared.sending, prepared.request)
    return await execution.finish(prepared.sending.operation, prepared.sending, exchange)


async def _call(execution: Execution, sending: Sending, request: Request) -> Exchange:
    late = too_late(execution, sending)
    return not_sent(late) if late else await execution.parts.agents.call(request, sending)


def too_late(execution: Execution, sending: Sending) -> str | None:
    """What has ended since the call was prepared, while it waited for its slot or to be put on record, if anything."""
    if not execution.surely_held():
        return "the lease was over"  # whoever holds it now sends, not we
    return overdue(execution.saga, sending, execution.parts.clock.now())


def not_sent(why: str) -> Exchange:
    """A call that was put on record and did not go out."""
    error = LastError(Outcome.UNAVAILABLE, f"not sent: {why} before the call could be sent")
    return Exchange(StepUnavailable(error, arrived=False), None, Outcome.UNAVAILABLE)
