"""The refund phase: the undos of all steps that are done or unknown, last first, each settled before the next begins.

So money goes back, by the first step's undo, only when no forward effect is left.
"""

from datetime import datetime

from app.saga.definition import RefundCall, Saga, Step
from app.saga.evidence import answered, with_step
from app.saga.model import Action, HeldReason, LastError, Operation, Outcome, Status, StepState, StepStatus
from app.saga.retry import again, released, retry_at, settled_at
from app.saga.signals import Answer, StepDone, StepRejected, StepUnavailable, StepUnknown
from app.saga.values import replace

NEEDS_UNDO = frozenset({StepStatus.DONE, StepStatus.UNKNOWN, StepStatus.UNDO_FAILED})
NOTHING_THERE = frozenset({404, 410})


def next_undo(saga: Saga, operation: Operation) -> Step | None:
    """The last step with a forward effect, known or possible, that is not undone; None when there is none left."""
    for step, state in reversed(list(zip(saga.steps, operation.steps, strict=True))):
        if state.status in NEEDS_UNDO and step.undo_needed and not state.settled:
            return step
    return None


def compensate(saga: Saga, operation: Operation, now: datetime) -> Operation:
    """Goes on to the next undo; with none left the payment is refunded.

    The undo of an unknown step waits until the step's last sending can take effect no more: else the undo could
    overtake it, find nothing, and leave a late purchase behind.
    """
    step = next_undo(saga, operation)
    free = replace(released(operation), held_reason=None, action=Action.UNDO, attempt=0)
    if step is None:
        return replace(free, status=Status.REFUNDED, next_run_at=None, finished_at=now)
    if step.undo is None:
        return hold(replace(free, step=step.name), HeldReason.CANNOT_UNDO)
    state = operation.state_of(step.name)
    if given_elsewhere(step, state):
        return compensate(saga, with_step(operation, step.name, status=StepStatus.UNDONE), now)
    proven = StepStatus.DONE if state.did else StepStatus.UNKNOWN
    at = undo_from(saga, step, state, now)
    due = with_step(replace(free, step=step.name, action=first_call(step)), step.name, status=proven)
    status = Status.ERROR if at > now else Status.PENDING
    return replace(due, status=status, next_run_at=min(at, operation.deadline))


def first_call(step: Step) -> Action:
    """What the undo of a step begins with: a refund protocol asks its provider for the payment's refunds first."""
    return Action.LOOKUP if isinstance(step.undo, RefundCall) else Action.UNDO


def given_elsewhere(step: Step, state: StepState) -> bool:
    """Whether the payment needs no undo, as others have given it back and there is no list that would know better."""
    return state.refund.elsewhere and not isinstance(step.undo, RefundCall)


def undo_from(saga: Saga, step: Step, state: StepState, now: datetime) -> datetime:
    """From when on the step's undo may be sent; not before `now`."""
    if state.did or state.undo.count or step.do is None:
        return now
    return settled_at(state.do, saga.limits_of(step.do), now)


def undo_answered(saga: Saga, operation: Operation, answer: Answer, now: datetime, jitter: float) -> Operation:
    """The answer to the undo of the present step has come, or will never come."""
    state = operation.state_of(operation.step)
    sendings = answered(state.undo, answer)
    after = with_step(operation, state.name, undo=sendings)
    if isinstance(answer, StepDone):
        return compensate(saga, with_step(after, state.name, status=StepStatus.UNDONE, absent=False), now)
    if state.status not in NEEDS_UNDO:
        # A late answer has proven, while this call was out, that it is undone or was never done.
        return compensate(saga, after, now)
    error = getattr(answer, "error", None) or LastError(Outcome.UNKNOWN, "no answer")
    if nothing_there(state, answer):
        return compensate(saga, with_step(after, state.name, status=StepStatus.UNDONE, absent=not state.did), now)
    after = replace(after, last_error=error)
    if isinstance(answer, StepRejected):
        return hold(after, HeldReason.UNDO_REJECTED)
    policy = saga.steps[saga.index(state.name)].undo_retry
    if operation.attempt >= policy.maximum_attempts or now >= operation.deadline:
        return hold(after, HeldReason.UNDO_EXHAUSTED)
    asked = answer.retry_at if isinstance(answer, StepUnavailable | StepUnknown) else None
    return again(after, retry_at(policy, operation.attempt, now, jitter, asked))


def hold(operation: Operation, reason: HeldReason) -> Operation:
    """Stops for a human. What comes before the present step in the saga is not undone until then."""
    state = operation.state_of(operation.step)
    # An undo that could not even be made from its document was rejected without a sending.
    tried = reason in {HeldReason.UNDO_REJECTED, HeldReason.REFUND_FAILED} or (
        state.undo.count > 0 and reason is HeldReason.UNDO_EXHAUSTED
    )
    failed = tried and state.status in NEEDS_UNDO
    held = with_step(operation, state.name, status=StepStatus.UNDO_FAILED) if failed else operation
    return replace(
        released(held),
        status=Status.HELD,
        held_reason=reason,
        next_run_at=None,
        finished_at=None,
    )


def refund_overdue(operation: Operation) -> Operation:
    """The refund phase has lasted as long as it may."""
    # The last error may be another step's: of an undo that was never sent it says nothing.
    sent = operation.state_of(operation.step).undo.count > 0
    error = operation.last_error if sent else None
    error = error or LastError(Outcome.UNAVAILABLE, "not sent: the refund's deadline has passed")
    return hold(replace(operation, last_error=error), HeldReason.UNDO_EXHAUSTED)


def nothing_there(state: StepState, answer: Answer) -> bool:
    """Whether a refusal means that there is nothing to undo.

    Of an unknown step: it was never carried out (`in_flight` is over). Of a done one: an earlier sending of the undo,
    whose outcome never came, has undone it already.
    """
    absent = isinstance(answer, StepRejected) and answer.error.status in NOTHING_THERE
    return absent and (not state.did or state.undo.unknown > 0)
