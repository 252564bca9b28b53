"""What an operator may ask for, and what becomes of it."""

from datetime import datetime

from app.errors import InvalidRequest, NotAllowed
from app.saga.compensate import compensate, next_undo
from app.saga.definition import RefundCall, Saga
from app.saga.evidence import given_up, with_step
from app.saga.forward import advance_to_next, evidence_needed, stop_reason, turn
from app.saga.model import NO_SENDINGS, Action, Operation, Phase, Reason, Status, StepStatus
from app.saga.refund_facts import next_refund
from app.saga.retry import key_expired, settled_at
from app.saga.signals import CancelRequested, Resolved, StepResolved
from app.saga.values import replace

STANDING = frozenset({Status.ERROR, Status.WAITING, Status.HELD})


def allowed_actions(operation: Operation) -> tuple[str, ...]:
    """What an operator may do now: some of `retry`, `cancel`, `resolve`."""
    standing = operation.status in STANDING
    # What retention has emptied is only known to have ended.
    cancellable = operation.status not in {Status.REFUNDED, Status.HELD} and bool(operation.steps)
    return tuple(
        name for name, allowed in (("retry", standing), ("cancel", cancellable), ("resolve", standing)) if allowed
    )


def _refuse(operation: Operation, action: str) -> NotAllowed:
    allowed = ", ".join(allowed_actions(operation)) or "nothing"
    return NotAllowed(f"cannot {action} an operation that is {operation.status}; allowed now: {allowed}")


def retry(saga: Saga, operation: Operation, now: datetime) -> Operation:
    """Runs again now, with the failure count at zero and the same idempotency keys.

    Raises:
        NotAllowed: in another status than `error`, `waiting` or `held`, and where only the repetition of an unknown
            call is left whose key the agent may have forgotten.
    """
    if operation.status not in STANDING:
        raise _refuse(operation, "retry")
    if operation.phase is Phase.REFUND:
        return _retry_refund(saga, operation, now)
    if operation.status is Status.HELD:
        raise NotAllowed("the purchase is contradicted: resolve it, as it cannot be taken up again")
    return _retry_purchase(saga, operation, now)


def _retry_purchase(saga: Saga, operation: Operation, now: datetime) -> Operation:
    step = saga.steps[saga.index(operation.step)]
    state = operation.state_of(operation.step)
    afresh = replace(operation, attempt=0)
    if step.do is None:
        return replace(afresh, status=Status.PENDING, next_run_at=now)
    limits = saga.limits_of(step.do)
    at = now
    if operation.action is Action.LOOKUP:
        at = settled_at(state.do, limits, now)
    elif key_expired(state.do, limits, now):
        if step.lookup is None:
            raise NotAllowed(
                f"the outcome of {step.name} is unknown and its idempotency key has expired: only a human can settle it"
            )
        return evidence_needed(saga, afresh, now)
    status = Status.ERROR if at > now else Status.PENDING
    return replace(afresh, status=status, next_run_at=min(at, operation.deadline))


def _retry_refund(saga: Saga, operation: Operation, now: datetime) -> Operation:
    step = next_undo(saga, operation)
    if step is not None and isinstance(step.undo, RefundCall):
        # The provider's list of refunds tells what has become of those that nobody knows of.
        operation = _with_new_key(operation, step.name)
    elif step is not None and step.undo is not None:
        state = operation.state_of(step.name)
        if key_expired(state.undo, saga.limits_of(step.undo), now):
            raise NotAllowed(
                f"the outcome of the undo of {step.name} is unknown and its idempotency key has expired: "
                "settle the step by hand and resolve it"
            )
    return compensate(saga, _renewed(saga, operation, now), now)


def _with_new_key(operation: Operation, step: str) -> Operation:
    """A refund that has failed for certain is followed by another one."""
    refund = operation.state_of(step).refund
    return with_step(operation, step, refund=next_refund(refund), undo=NO_SENDINGS) if refund.failed else operation


def cancel(saga: Saga, operation: Operation, signal: CancelRequested, now: datetime) -> Operation | None:
    """Turns to refund, at once or when the running call ends; None where nothing changes.

    Raises:
        NotAllowed: `refunded`, `held`, and `succeeded` unless `undo_succeeded`.
    """
    succeeded = operation.status is Status.SUCCEEDED
    if operation.status in {Status.REFUNDED, Status.HELD}:
        raise _refuse(operation, "cancel")
    if succeeded and not signal.undo_succeeded:
        raise NotAllowed('the purchase has succeeded; send {"undo_succeeded": true} to undo it and give the money back')
    if not operation.steps:
        raise NotAllowed("what is known of its steps was emptied by retention: it can only be refunded by hand")
    if not succeeded and (operation.phase is Phase.REFUND or operation.cancel_requested_at is not None):
        return None
    asked = replace(operation, cancel_requested_at=now)
    return asked if operation.status is Status.PROCESSING else turn(saga, asked, Reason.CANCELLED, now)


def resolve(operation: Operation, signal: Resolved, now: datetime) -> Operation:
    """Ends the operation where it stands: a human has settled it elsewhere, nothing more is called.

    A refunded one can never go forward again, also when it is contradicted later, and what a human has settled is not
    undone a second time then.

    Raises:
        NotAllowed: in another status than `error`, `waiting` or `held`; as `succeeded` while a step is undone.
    """
    if operation.status not in STANDING:
        raise _refuse(operation, "resolve")
    ended = replace(operation, status=signal.outcome, held_reason=None, next_run_at=None, attempt=0, finished_at=now)
    if signal.outcome is Status.SUCCEEDED:
        undone = [state.name for state in operation.steps if state.status is StepStatus.UNDONE]
        if undone:
            raise NotAllowed(f"cannot be resolved as succeeded: {', '.join(undone)} is undone")
        return ended
    steps = tuple(
        state if state.status is StepStatus.UNDONE else replace(given_up(state), settled=True)
        for state in operation.steps
    )
    return replace(ended, phase=Phase.REFUND, reason=operation.reason or Reason.REFUNDED_ELSEWHERE, steps=steps)


def resolve_step(saga: Saga, operation: Operation, signal: StepResolved, now: datetime) -> Operation:
    """Settles one step by a human's word; the operation goes on.

    Raises:
        InvalidRequest: the saga has no such step.
        NotAllowed: in another status than `error`, `waiting` or `held`.
    """
    if signal.step not in {step.name for step in saga.steps}:
        names = ", ".join(step.name for step in saga.steps)
        raise InvalidRequest("no such step", [("/step", f'no step named "{signal.step}"; its steps are {names}')])
    if operation.status not in STANDING:
        raise _refuse(operation, "resolve")
    state = operation.state_of(signal.step)
    if signal.done:
        # No undo of it has taken effect, then: its key may be used again.
        undo, refund = replace(state.undo, unknown=0, first_at=None), state.refund
        if isinstance(saga.steps[saga.index(signal.step)].undo, RefundCall) and undo.count:
            undo, refund = NO_SENDINGS, next_refund(refund)
        settled = with_step(
            operation,
            signal.step,
            status=StepStatus.DONE,
            did=True,
            absent=False,
            settled=False,
            undo=undo,
            refund=refund,
        )
    else:
        # Where nobody knew of a purchase, a late answer may still bring one that the human did not find.
        settled = with_step(operation, signal.step, status=StepStatus.UNDONE, absent=not state.did)
    if operation.phase is Phase.REFUND:
        return _go_on_refunding(saga, operation, _renewed(saga, settled, now), now)
    if not signal.done:
        # A purchase of which a part was taken back by hand cannot become whole any more.
        return turn(saga, settled, stop_reason(settled, now) or Reason.CANCELLED, now)
    reason = stop_reason(settled, now)
    if reason:
        return turn(saga, settled, reason, now)
    return advance_to_next(settled, now) if signal.step == operation.step else settled


def _go_on_refunding(saga: Saga, before: Operation, settled: Operation, now: datetime) -> Operation:
    """The next undo; the wait of one that stands in `error` is kept where it is still the next."""
    step = next_undo(saga, settled)
    same = step is not None and step.name == before.step and before.status is Status.ERROR
    return settled if same else compensate(saga, settled, now)


def _renewed(saga: Saga, operation: Operation, now: datetime) -> Operation:
    """A human has taken it up again: where the refund's deadline has passed, it counts anew."""
    passed = now >= operation.deadline
    return replace(operation, deadline=now + saga.undo_deadline) if passed else operation
