"""What a provider tells of refunds by itself, by its events: ours have come further, or others have given money back."""

from datetime import datetime

from app.saga.compensate import NEEDS_UNDO, compensate, hold
from app.saga.definition import RefundCall, Saga
from app.saga.evidence import with_step
from app.saga.forward import turn
from app.saga.model import Action, HeldReason, Operation, Phase, Reason, Status, StepState, StepStatus
from app.saga.refund import failed, has_failed, undone
from app.saga.refund_facts import KnownRefund, RefundStanding, weigh
from app.saga.signals import RefundHeard
from app.saga.values import replace


def refund_heard(saga: Saga, operation: Operation, signal: RefundHeard, now: datetime) -> Operation | None:
    """What becomes of an operation by what its payment's provider has told of refunds; None where nothing changes.

    All that was told so far is looked at each time, so it does not matter in which order it came, nor how often.
    """
    if not operation.steps:  # retention has emptied them: there is nothing left to hold it against
        return None
    weighed = weigh(saga.steps[0].undo, operation, signal.refunds)
    elsewhere = weighed.clear and weighed.certain >= operation.amount
    if operation.phase is Phase.PURCHASE:
        return _in_purchase(saga, operation, now, elsewhere=elsewhere)
    if weighed.ours is not None:
        # Where others have given it all back, a refund of ours that has failed is not missed.
        missed = weighed.ours.standing is not RefundStanding.FAILED or not elsewhere
        after = ours_told(saga, operation, weighed.ours, now) if missed else None
        if after is not None:
            return after
    return _others_told(saga, operation, now, elsewhere=elsewhere)


def _in_purchase(saga: Saga, operation: Operation, now: datetime, *, elsewhere: bool) -> Operation | None:
    """The money is back before the purchase was made: it turns to refund, once the call that is out has ended."""
    if operation.status in {Status.SUCCEEDED, Status.HELD}:
        return None
    noted = _noted(operation, elsewhere=elsewhere)
    if operation.status is Status.PROCESSING or not elsewhere:
        return noted if noted != operation else None
    return turn(saga, noted, Reason.REFUNDED_ELSEWHERE, now)


def ours_told(saga: Saga, operation: Operation, ours: KnownRefund, now: datetime) -> Operation | None:
    """What becomes of an operation in the refund phase by what is told of its own refund; None where nothing changes."""
    state = operation.steps[0]
    if has_failed(state, ours):
        return None  # told before its failure, and heard after it
    if ours.standing is RefundStanding.SUCCEEDED:
        return _succeeded(saga, operation, state, ours, now)
    if ours.standing is RefundStanding.FAILED:
        return _failed(operation, state, ours)
    if state.refund.id is not None or ours.id in state.refund.former or not state.undo.count:
        return None
    return with_step(operation, state.name, refund=replace(state.refund, id=ours.id))


def _succeeded(
    saga: Saga, operation: Operation, state: StepState, ours: KnownRefund, now: datetime
) -> Operation | None:
    if state.status not in NEEDS_UNDO:
        return None
    back = undone(operation, ours)
    if operation.status is Status.SUCCEEDED:
        return hold(replace(back, step=state.name), HeldReason.CONTRADICTED)
    if operation.is_final:
        return None
    if operation.status is Status.PROCESSING or operation.step != state.name:
        return back
    return compensate(saga, back, now)


def _failed(operation: Operation, state: StepState, ours: KnownRefund) -> Operation | None:
    """A failure is proof, also days after the success that was told before."""
    if state.refund.failed or state.settled or not (state.undo.count or ours.id == state.refund.id):
        return None
    if operation.status is Status.REFUNDED and state.status is StepStatus.UNDONE:
        return failed(with_step(operation, state.name, status=StepStatus.DONE), ours)
    if operation.is_final or operation.step != state.name:
        return None
    if operation.status is Status.PROCESSING:
        # Whatever the call that is out brings, this is known then, also where a success was told before.
        known = replace(state.refund, id=ours.id, failed=True)
        return with_step(operation, state.name, status=StepStatus.DONE, refund=known)
    return failed(operation, ours)


def _others_told(saga: Saga, operation: Operation, now: datetime, *, elsewhere: bool) -> Operation | None:
    state = operation.steps[0]
    if operation.is_final or state.status not in NEEDS_UNDO:
        return None
    noted = _noted(operation, elsewhere=elsewhere)
    by_list = isinstance(saga.steps[0].undo, RefundCall)
    if operation.status is Status.PROCESSING:
        if by_list and operation.action is Action.UNDO and operation.step == state.name and not state.undo.out:
            # The list that the wish was made from is not the newest any more.
            noted = replace(noted, action=Action.LOOKUP)
        return noted if noted != operation else None
    if noted == operation or operation.step != state.name or not elsewhere:
        return noted if noted != operation else None
    if operation.status is Status.HELD:
        # A human has given it back at the provider: where the refund's deadline has passed, it counts anew.
        return compensate(saga, replace(noted, deadline=max(noted.deadline, now + saga.undo_deadline)), now)
    return noted if by_list else compensate(saga, noted, now)


def _noted(operation: Operation, *, elsewhere: bool) -> Operation:
    state = operation.steps[0]
    return with_step(operation, state.name, refund=replace(state.refund, elsewhere=elsewhere))
