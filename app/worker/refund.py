"""The refund protocol of a provider, carried: its questions go out in their atomic phase, as all calls do.

The list of the payment's refunds is asked for first, and the wish for ours goes out under the same claim. One operation
at a time does so for one payment at one agent: from before the list until the wish is answered it has the turn.
"""

import logging
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar

from app.agents import Exchange, Request, RequestRefused, SlotUnavailable
from app.agents.questions import Listing, Read, read_wish
from app.db import refunds
from app.db.refunds import RefundClaim
from app.db.rows import bucket_of
from app.errors import DatabaseUnavailable
from app.providers import known
from app.providers.refunds import Question, Refunds, Wanted
from app.saga import Sending
from app.saga.definition import RefundCall
from app.saga.model import Action, LastError, Operation, Outcome
from app.saga.refund_facts import KnownRefund, may_still_refund, present_key
from app.saga.signals import Found, LookupAnswered, RefundHeard, StepRejected
from app.worker.call import not_sent, too_late
from app.worker.execution import Execution, persist

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

# How soon an operation looks again whose payment another one is giving back: some answers of a provider later.
TURN_WAIT = timedelta(seconds=2)

# Of refunds of one payment. A list that goes on beyond it has no end.
MOST_PAGES = 100


async def hear(execution: Execution, operation: Operation) -> Operation | None:
    """Lets the operation hear what its provider told of refunds before this claim: even before it told of the payment."""
    told = await _told(execution, operation)
    return await execution.decide(operation, RefundHeard(told)) or await execution.reload(operation)


async def give_money_back(
    execution: Execution, operation: Operation, sending: Sending, call: RefundCall
) -> Operation | None:
    """Asks for the list of refunds, or sends our wish; returns the operation as it was left, or None as `send` does."""
    provider = known().get(call.refund)
    protocol = provider.refunds if provider else None
    if protocol is None:
        return await execution.decide(operation, _refused(f"there is no refund protocol named {call.refund}"))
    wanted = _wanted(execution, sending, call)
    try:
        if sending.action is Action.LOOKUP:
            left = await _look(execution, operation, sending, call, protocol, wanted)
        else:
            read = read_wish(protocol, wanted, execution.parts.clock.now())
            left = await _ask(execution, operation, sending, call, lambda: protocol.give(wanted), read)
    except RequestRefused as error:
        left = await execution.decide(operation, _refused(str(error)))
    if left is not None and not may_still_refund(left):
        await _give_turn_back(execution, left, call)
    return left


async def _look(
    execution: Execution, operation: Operation, sending: Sending, call: RefundCall, protocol: Refunds, wanted: Wanted
) -> Operation | None:
    """Takes the turn and asks for the list."""
    if not await persist(lambda: _take_turn(execution, operation, call)):
        error = LastError(Outcome.UNAVAILABLE, "another operation is giving this payment back")
        until = execution.parts.clock.now() + TURN_WAIT * (1 + random.random())
        return await execution.defer(operation, until, error)
    listing = Listing(protocol, wanted, await _told(execution, operation))
    if _said(lambda: protocol.search(wanted, None)) is None:
        return await execution.decide(operation, listing.whole(complete=False))
    return await _ask(
        execution, operation, sending, call, lambda: protocol.search(wanted, listing.next_page), listing.read, listing
    )


async def _ask(
    execution: Execution,
    operation: Operation,
    sending: Sending,
    call: RefundCall,
    question: Callable[[], Question | None],
    read: Read,
    listing: Listing | None = None,
) -> Operation | None:
    """One attempt: put on record, sent, and its answer recorded; all pages of a list are one."""
    agents, clock = execution.parts.agents, execution.parts.clock

    def request() -> Request:
        asked = _said(question)
        if asked is None:
            raise RequestRefused(f"{call.refund} has no further question")
        return agents.render_question(call.agent, asked, sending, operation.traceparent)

    first = request()
    gate = agents.gate(call.agent)
    closed_until = gate.turn_at(clock.now())
    if execution.parts.draining.is_set() or closed_until is not None:
        return await execution.defer(operation, closed_until or clock.now())
    try:
        slot = await gate.slot(execution.parts.slot_wait.total_seconds())
    except SlotUnavailable as error:
        return await execution.defer(operation, error.until)
    with slot:
        if not await execution.begin(sending, first.recorded):
            return None
        late = too_late(execution, sending)
        exchange = not_sent(late) if late else await agents.ask(first, sending, read)
        if listing is not None:
            exchange = await _further_pages(execution, sending, listing, request, exchange)
    return await execution.finish(sending.operation, sending, exchange)


async def _further_pages(
    execution: Execution, sending: Sending, listing: Listing, request: Callable[[], Request], exchange: Exchange
) -> Exchange:
    """The pages behind the first; one that cannot be had leaves the list unknown."""
    try:
        for _ in range(MOST_PAGES):
            if listing.next_page is None:
                return exchange
            late = too_late(execution, sending)
            if late:
                raise RequestRefused(late)
            exchange = await execution.parts.agents.ask(request(), sending, listing.read)
        raise RequestRefused("it has too many pages")
    except RequestRefused as error:
        detail = f"the list of refunds was not read to its end: {error}"
        unclear = LookupAnswered(Found.UNCLEAR, error=LastError(Outcome.UNKNOWN, detail))
        return replace(exchange, answer=unclear, outcome=Outcome.UNKNOWN)


def _wanted(execution: Execution, sending: Sending, call: RefundCall) -> Wanted:
    operation = sending.operation
    state = operation.state_of(sending.step)
    return Wanted(
        payment_id=operation.external_id,
        order_id=operation.order_id,
        amount=state.refund.amount or operation.amount,
        currency=operation.currency,
        key=present_key(call, operation, state),
        event=execution.event,
        basis=state.refund.basis,
    )


async def _told(execution: Execution, operation: Operation) -> tuple[KnownRefund, ...]:
    parts = execution.parts
    place = (bucket_of(operation.id, parts.store.buckets), operation.id)
    found = await persist(lambda: refunds.told_of(parts.engine, [place]))
    return found.get(operation.id, ())


async def _take_turn(execution: Execution, operation: Operation, call: RefundCall) -> bool:
    """Whether the operation has the turn: it was free, or whoever has it has come to an end with it."""
    parts = execution.parts
    wanted = RefundClaim(call.agent, operation.external_id, operation.id, operation.lease, parts.clock.now())
    holder = await refunds.take(parts.engine, wanted)
    if holder is None:
        return True
    other = await parts.store.load(holder.operation_id)
    if other is not None and may_still_refund(other):
        return False
    return await refunds.take_over(parts.engine, wanted, holder)


async def _give_turn_back(execution: Execution, operation: Operation, call: RefundCall) -> None:
    parts, lease = execution.parts, operation.lease
    try:
        await refunds.give_back(parts.engine, call.agent, operation.external_id, operation.id, lease)
    except DatabaseUnavailable as error:
        # Whoever finds the row sees that this operation does not need it any more.
        logger.warning("turn_not_given_back", extra={"operation_id": operation.id, "error": str(error)})


def _said(say: Callable[[], Result]) -> Result:
    """What a provider wants asked. Raises RequestRefused where it stumbles over the payment: a human has to see that."""
    try:
        return say()
    except Exception as error:
        logger.warning("question_refused", exc_info=True)
        raise RequestRefused(str(error) or type(error).__name__) from error


def _refused(detail: str) -> StepRejected:
    return StepRejected(LastError(Outcome.REJECTED, detail))
