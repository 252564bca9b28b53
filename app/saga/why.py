"""Why an operation stands where it stands, and what happens next: one sentence for people."""

from datetime import datetime

from app.saga.definition import Call, LocalCall, Lookup, RefundCall, Saga, Step
from app.saga.model import (
    Action,
    HeldReason,
    LastError,
    Operation,
    Outcome,
    Phase,
    Reason,
    Status,
    StepState,
    StepStatus,
)

# An agent may answer with a whole page; the attempts have all of it.
LONGEST_DETAIL = 200

BY_HAND = "retry it, or settle it by hand and resolve the step"


def why(saga: Saga, operation: Operation) -> str:
    """The sentence.

    Args:
        saga: the one the operation began with.
    """
    match operation.status:
        case Status.SUCCEEDED:
            return _succeeded(operation)
        case Status.REFUNDED:
            return _refunded(operation)
        case status:
            step = saga.steps[saga.index(operation.step)]
            return f"{step.name}: {SAID[status](operation, step)}"


def _succeeded(operation: Operation) -> str:
    if not operation.steps:  # retention has emptied them
        return "succeeded"
    if all(state.status is StepStatus.DONE for state in operation.steps):
        return "succeeded: every step is done"
    return "succeeded: settled by hand"


def _refunded(operation: Operation) -> str:
    if not operation.steps:
        return "refunded"
    if operation.steps[0].status is StepStatus.UNDONE:
        return f"refunded, as {_reason(operation)}"
    return "refunded: settled by hand"


def _reason(operation: Operation) -> str:
    """Why it turned to refund, as the end of a sentence."""
    tried = [state.name for state in operation.steps[1:] if state.do.count or state.do.refused]
    last = tried[-1] if tried else operation.steps[-1].name
    match operation.reason:
        case Reason.REJECTED:
            return f"{last} was rejected"
        case Reason.ATTEMPTS_EXHAUSTED:
            return f"{last} was given up"
        case Reason.DEADLINE_PASSED:
            return "the deadline has passed"
        case Reason.REFUNDED_ELSEWHERE:
            return "the money was given back elsewhere"
        case Reason.CANCELLED | None:
            return "it was cancelled"


def _pending(operation: Operation, step: Step) -> str:
    call = _call(operation, step)
    later = operation.next_run_at is not None and operation.next_run_at > operation.updated_at
    at = f" {_at(operation)}" if later else ""
    if call is None:
        return f"ready{at}"
    if operation.phase is Phase.REFUND:
        return f"its undo is ready for {_agent(call)}{at}, as {_reason(operation)}"
    if operation.action is Action.LOOKUP:
        return f"its outcome is unknown; {_agent(call)} is asked{at or ' now'} whether it was carried out"
    return f"ready for {_agent(call)}{at}"


def _processing(operation: Operation, step: Step) -> str:
    until = operation.complete_by
    lease = f"held by {operation.locked_by} until {_clock(until, operation)}" if until else "held by a worker"
    call = _call(operation, step)
    if call is None:
        return lease
    state = operation.state_of(step.name)
    out = (state.undo if operation.action is Action.UNDO else state.do).out
    where = f"is out to {_agent(call)}" if out else f"is due at {_agent(call)}"
    said = f"{_attempt(operation, step, operation.attempt)} {where}; {lease}"
    if operation.phase is Phase.PURCHASE and operation.cancel_requested_at is not None:
        return f"{said}; a cancel is requested, and what the call brings is undone"
    return said


def _error(operation: Operation, step: Step) -> str:
    call, state = _call(operation, step), operation.state_of(step.name)
    failed = _failure(operation.last_error, call)
    if operation.phase is Phase.PURCHASE and operation.next_run_at == operation.deadline:
        return f"{failed}; turns to refund {_at(operation)}, when its deadline passes"
    if isinstance(call, RefundCall):
        again = _attempt(operation, step, operation.attempt + 1)
        return f"{failed}; {again} {_at(operation)}, which asks {_agent(call)} first what is refunded already"
    if operation.action is Action.LOOKUP and not operation.attempt:
        return f"{failed}; {_agent(call)} is asked {_at(operation)} whether it was carried out, {_no_sooner()}"
    if operation.action is Action.UNDO and not state.did and not state.undo.count:
        return f"its outcome is unknown; its undo goes to {_agent(call)} {_at(operation)}, {_no_sooner()}"
    again = _attempt(operation, step, operation.attempt + 1)
    key = "" if operation.action is Action.LOOKUP or isinstance(call, LocalCall) else ", with the same idempotency key"
    return f"{failed}; {again} {_at(operation)}{key}"


def _no_sooner() -> str:
    return "when its last call can take effect no more"


def _waiting(operation: Operation, step: Step) -> str:
    return f"{_agent(_call(operation, step))} will confirm later; asked again {_at(operation)}"


def _held(operation: Operation, step: Step) -> str:
    state = operation.state_of(step.name)
    failed = _failure(operation.last_error, step.undo)
    match operation.held_reason:
        case HeldReason.UNDO_REJECTED:
            if not state.undo.count:
                return (
                    f"its undo cannot be made, and nothing was sent: {failed}; settle it by hand and resolve the step"
                )
            return f"its undo was rejected: {failed}; {BY_HAND}"
        case HeldReason.UNDO_EXHAUSTED:
            return f"its undo was given up: {failed}; {BY_HAND}"
        case HeldReason.REFUND_FAILED:
            return f"the refund failed: {failed}; {BY_HAND}"
        case HeldReason.CANNOT_UNDO:
            known = "it is done" if state.did else "its outcome is unknown"
            return f"{known} and it has no undo; undo it by hand and resolve the step"
        case HeldReason.CONTRADICTED | None:
            return _contradicted(state)


def _contradicted(state: StepState) -> str:
    if state.status is StepStatus.UNDONE:
        return "it was undone behind a success; retry gives the money back, or resolve it as it stands"
    return "it was carried out behind a refund; retry undoes it, or settle it by hand and resolve the step"


def _attempt(operation: Operation, step: Step, number: int) -> str:
    """Which attempt of how many."""
    what = "lookup" if operation.action is Action.LOOKUP and operation.phase is Phase.PURCHASE else "attempt"
    back = operation.phase is Phase.REFUND
    policy = step.undo_retry if back else step.retry
    undo = " of its undo" if back else ""
    return f"{what} {number} of {policy.maximum_attempts}{undo}"


def _call(operation: Operation, step: Step) -> Call | Lookup | None:
    """What is called next, or was called last."""
    match operation.action:
        case Action.UNDO:
            return step.undo
        case Action.LOOKUP:
            return step.undo if operation.phase is Phase.REFUND else step.lookup
        case Action.DO:
            return step.do


def _agent(call: Call | Lookup | None) -> str:
    """Who is called."""
    if call is None:
        return "nobody"
    return call.local if isinstance(call, LocalCall) else call.agent


def _failure(error: LastError | None, call: Call | Lookup | None) -> str:
    """What went wrong, and with whom."""
    if error is None:
        return "no answer yet"
    detail = " ".join(error.detail.split())
    if len(detail) > LONGEST_DETAIL:
        detail = detail[: LONGEST_DETAIL - 1] + "…"
    not_sent = error.kind is Outcome.REJECTED and error.status is None and not isinstance(call, LocalCall)
    if call is None or error.kind is Outcome.CRASHED or not_sent:
        return detail
    return f"{detail} ({_agent(call)})" if ":" in detail else f"{detail} from {_agent(call)}"


def _at(operation: Operation) -> str:
    """When it runs again."""
    return "soon" if operation.next_run_at is None else f"at {_clock(operation.next_run_at, operation)}"


def _clock(time: datetime, operation: Operation) -> str:
    """The time of day, UTC; with the day where it is not the one of the last change."""
    same_day = time.date() == operation.updated_at.date()
    return time.strftime("%H:%M:%SZ" if same_day else "%Y-%m-%d %H:%M:%SZ")


SAID = {
    Status.PENDING: _pending,
    Status.PROCESSING: _processing,
    Status.ERROR: _error,
    Status.WAITING: _waiting,
    Status.HELD: _held,
}
