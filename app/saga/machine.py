"""The one place that decides what happens next to an operation.

`prepare` (in `sending`) says what a worker that has claimed an operation is to send; `advance` takes what came of it, or what else
happened, and decides. Both are pure: time and jitter come in, a value comes out. Worker, supervisor and operator all go
through them, and the result counts only once the store has written it over the very operation it was decided on.
(Sequential workflow with rollback; Garcia-Molina and Salem, Sagas, 1987; Microsoft, Scheduler Agent Supervisor pattern.)
"""

import re
from datetime import datetime
from functools import cache
from typing import assert_never

from app.errors import IllegalSignal
from app.saga.compensate import compensate, first_call, hold, next_undo, refund_overdue, undo_answered
from app.saga.definition import RefundCall, Saga
from app.saga.evidence import late_evidence
from app.saga.forward import (
    advance_to_next,
    do_answered,
    evidence_needed,
    lookup_answered,
    no_more_to_learn,
    stop_reason,
    turn,
)
from app.saga.model import (
    CLAIMABLE,
    Action,
    HeldReason,
    LastError,
    Operation,
    Outcome,
    Phase,
    Status,
    StepStatus,
    Transition,
)
from app.saga.news import ours_told, refund_heard
from app.saga.operator import cancel, resolve, resolve_step, retry
from app.saga.refund import refunds_listed, wish_answered
from app.saga.refund_facts import present_key
from app.saga.retry import released
from app.saga.signals import (
    Answer,
    CancelRequested,
    DeadlinePassed,
    Deferred,
    Found,
    LateAnswer,
    LeaseExpired,
    LookupAnswered,
    RefundAnswered,
    RefundBlocked,
    RefundHeard,
    RefundsListed,
    Resolved,
    RetryRequested,
    Signal,
    StepDone,
    StepRejected,
    StepResolved,
    StepUnavailable,
    StepUnknown,
)
from app.saga.values import replace


def advance(saga: Saga, operation: Operation, signal: Signal, now: datetime, jitter: float) -> Transition | None:
    """Decides what becomes of an operation.

    Args:
        saga: the one the operation began with, with its agents' limits of today.
        operation: as it is stored.
        signal: what happened.
        now: the database's time.
        jitter: a random number from 0 to 1.

    Returns:
        The decision, or None where nothing changes.

    Raises:
        NotAllowed: an operator's wish that this status does not allow.
        InvalidRequest: an operator names a step that there is not.
        IllegalSignal: a signal that cannot be in this status; a mistake in Makegood.
    """
    after = _decide(saga, operation, signal, now, jitter)
    return None if after is None else Transition.of(operation, after, _cause(signal))


def _decide(saga: Saga, operation: Operation, signal: Signal, now: datetime, jitter: float) -> Operation | None:
    match signal:
        case LateAnswer():
            return _late(saga, operation, signal, now)
        case RefundHeard():
            return refund_heard(saga, operation, signal, now)
        case RetryRequested():
            return retry(saga, operation, now)
        case CancelRequested():
            return cancel(saga, operation, signal, now)
        case Resolved():
            return resolve(operation, signal, now)
        case StepResolved():
            return resolve_step(saga, operation, signal, now)
        case DeadlinePassed():
            return _deadline_passed(saga, operation, now)
        case _:
            pass
    if operation.status is not Status.PROCESSING:
        raise IllegalSignal(f"{_cause(signal)} for an operation that is {operation.status}")
    match signal:
        case Deferred():
            return _deferred(saga, operation, signal, now)
        case LeaseExpired():
            return _answered(saga, operation, _crashed(operation), now, jitter)
        case StepDone() | StepRejected() | StepUnavailable() | StepUnknown() | LookupAnswered():
            return _answered(saga, operation, signal, now, jitter)
        case RefundsListed() | RefundAnswered() | RefundBlocked():
            return _answered(saga, operation, signal, now, jitter)
        case _:
            assert_never(signal)


def _answered(saga: Saga, operation: Operation, answer: Answer, now: datetime, jitter: float) -> Operation:
    undo = saga.steps[saga.index(operation.step)].undo if operation.phase is Phase.REFUND else None
    if isinstance(undo, RefundCall):
        if operation.action is Action.LOOKUP:
            return refunds_listed(saga, operation, undo, answer, now, jitter)
        if not isinstance(answer, StepDone | LookupAnswered | RefundsListed):
            return wish_answered(saga, operation, answer, now, jitter)
        raise IllegalSignal(f"{_cause(answer)} for a wish for a refund")
    if isinstance(answer, RefundsListed | RefundAnswered | RefundBlocked):
        raise IllegalSignal(f"an answer about refunds for the {operation.action} of {operation.step}")
    if operation.action is Action.LOOKUP:
        return lookup_answered(saga, operation, _as_lookup(answer), now, jitter)
    if isinstance(answer, LookupAnswered):
        raise IllegalSignal(f"a lookup's answer for the {operation.action} of {operation.step}")
    if operation.action is Action.UNDO:
        return undo_answered(saga, operation, answer, now, jitter)
    return do_answered(saga, operation, answer, now, jitter)


def _as_lookup(answer: Answer) -> LookupAnswered:
    """A lookup that was not answered as one proves nothing."""
    if isinstance(answer, LookupAnswered):
        return answer
    if isinstance(answer, StepRejected):
        return LookupAnswered(Found.UNCLEAR, error=answer.error)
    if isinstance(answer, StepUnavailable | StepUnknown):
        return LookupAnswered(Found.UNCLEAR, error=answer.error, retry_at=answer.retry_at)
    raise IllegalSignal("a step's answer for a lookup")


def _crashed(operation: Operation) -> Answer:
    """What the end of a lease says of the call: one that was out is unknown, one that was not was never made."""
    state = operation.state_of(operation.step)
    sendings = state.undo if operation.action is Action.UNDO else state.do
    if sendings.out:
        return StepUnknown(LastError(Outcome.CRASHED, "the worker's lease ran out while the call was out"))
    error = LastError(Outcome.CRASHED, "the worker's lease ran out before the call was sent")
    return StepUnavailable(error, arrived=False)


def _deferred(saga: Saga, operation: Operation, signal: Deferred, now: datetime) -> Operation:
    """Nothing was sent: the claim does not count, and a cancel or deadline that came meanwhile takes its course."""
    reason = stop_reason(operation, now) if operation.phase is Phase.PURCHASE else None
    if reason:
        return turn(saga, operation, reason, now)
    attempt = operation.attempt - 1
    step = saga.steps[saga.index(operation.step)]
    return released(
        operation,
        status=Status.ERROR if attempt or signal.error else Status.PENDING,
        action=first_call(step) if operation.phase is Phase.REFUND else operation.action,
        attempt=attempt,
        last_error=signal.error or operation.last_error,
        next_run_at=min(max(signal.until, now), operation.deadline),
    )


def _deadline_passed(saga: Saga, operation: Operation, now: datetime) -> Operation | None:
    if operation.status not in CLAIMABLE or now < operation.deadline:
        # A call that is out is awaited: whoever holds the operation decides when its answer comes, or its lease ends.
        return None
    if operation.phase is Phase.REFUND:
        return refund_overdue(operation)
    reason = stop_reason(operation, now)
    return turn(saga, operation, reason, now) if reason else None


def _late(saga: Saga, operation: Operation, late: LateAnswer, now: datetime) -> Operation | None:
    """An answer whose lease was taken over: evidence, which moves an operation only where it changes what is next."""
    if not operation.steps:  # retention has emptied them: there is nothing left to hold it against
        return None
    before = operation.state_of(late.step)
    call = saga.steps[saga.index(late.step)].undo if late.action is not Action.DO else None
    if isinstance(call, RefundCall) and operation.phase is Phase.REFUND:
        if isinstance(late.answer, RefundAnswered):
            # What it says of one that another has followed since was so before that one failed.
            overtaken = late.answer.refund.id in before.refund.former
            return None if overtaken else ours_told(saga, operation, late.answer.refund, now)
        if late.key != present_key(call, operation, before):
            return None  # it speaks of a refund before the present one, or is a list that has grown old
    state = late_evidence(operation, late)
    if state == before:
        return None
    known = replace(operation, steps=tuple(state if s.name == late.step else s for s in operation.steps))
    if operation.is_final:
        return _contradicted(saga, operation, known, late.step)
    if operation.status in {Status.HELD, Status.PROCESSING}:
        return known
    if operation.phase is Phase.REFUND:
        step = next_undo(saga, known)
        same = step is not None and step.name == operation.step and before.status == state.status
        return known if same else compensate(saga, known, now)
    if operation.step != late.step:
        return known
    if state.status is StepStatus.DONE:
        reason = stop_reason(known, now)
        return turn(saga, known, reason, now) if reason else advance_to_next(known, now)
    return evidence_needed(saga, known, now) if no_more_to_learn(known, state) else known


def _contradicted(saga: Saga, operation: Operation, known: Operation, step: str) -> Operation | None:
    """A final operation stays so unless the evidence is against it: a purchase behind a refund, an undo behind a success."""
    was, now_is = operation.state_of(step).status, known.state_of(step).status
    undo_needed = saga.steps[saga.index(step)].undo_needed
    bought = operation.status is Status.REFUNDED and now_is is StepStatus.DONE and undo_needed
    taken_back = operation.status is Status.SUCCEEDED and now_is is StepStatus.UNDONE
    if was == now_is or not (bought or taken_back):
        return None
    return hold(replace(known, step=step), HeldReason.CONTRADICTED)


def _cause(signal: Signal) -> str:
    """The signal's name as a word of the history: StepDone is `step_done`."""
    return _word(type(signal).__name__)


@cache
def _word(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
