"""The undo that speaks a provider's refund protocol: the list of the payment's refunds first, then the wish for ours.

A wish goes out only under the claim in which the list was asked, and a wish whose outcome nobody knows is never followed
by one with another key before there is proof that it made nothing. So whatever gets lost, no more is given back than
was paid, and nothing twice.
"""

from datetime import datetime, timedelta

from app.saga.compensate import NEEDS_UNDO, compensate, hold
from app.saga.definition import Limits, RefundCall, Saga
from app.saga.evidence import answered, with_step
from app.saga.model import (
    NO_SENDINGS,
    Action,
    HeldReason,
    LastError,
    Operation,
    Outcome,
    Status,
    StepState,
    StepStatus,
)
from app.saga.refund_facts import KnownRefund, RefundStanding, in_doubt, next_refund, weigh
from app.saga.retry import again, key_expired, released, retry_at, settled_at
from app.saga.signals import (
    Answer,
    LookupAnswered,
    RefundAnswered,
    RefundsListed,
    StepRejected,
    StepUnavailable,
    StepUnknown,
)
from app.saga.values import replace

LONGEST_WAIT = timedelta(hours=6)  # the contract's: a pending refund is asked about at least this often


def refunds_listed(
    saga: Saga, operation: Operation, call: RefundCall, answer: Answer, now: datetime, jitter: float
) -> Operation:
    """The provider's list has come, or will not come: our refund is there already, or it goes out, or is not needed."""
    state = operation.state_of(operation.step)
    if state.status not in NEEDS_UNDO:
        # An event has told so while the list was asked for.
        return compensate(saga, operation, now)
    if isinstance(answer, StepRejected):
        return hold(replace(operation, last_error=answer.error), HeldReason.UNDO_REJECTED)
    if not isinstance(answer, RefundsListed):
        return _in_vain(saga, operation, answer, now, jitter)
    weighed = weigh(call, operation, answer.refunds)
    ours = weighed.ours
    if ours is not None and has_failed(state, ours):
        ours = replace(ours, standing=RefundStanding.FAILED)  # an event was sooner than the list
    if ours is not None and ours.standing is RefundStanding.SUCCEEDED:
        return given_back(saga, operation, ours, now)
    if not weighed.clear:
        error = LastError(Outcome.UNKNOWN, "a part of the payment was given back in another currency")
        return _in_vain(saga, operation, StepUnknown(error), now, jitter)
    if ours is not None and ours.standing is RefundStanding.PENDING:
        return _wait(operation, ours, answer.ask_again, now)
    paid = operation.amount if answer.paid is None else answer.paid
    left = min(operation.amount, paid - weighed.given)
    if left <= 0:
        return given_back(saga, operation, None, now)
    if ours is None and not answer.complete and state.refund.id is not None and not state.refund.failed:
        # It was acknowledged, and no list shows it: an event tells. To ask again, once the key is forgotten, makes another.
        return _wait(operation, None, answer.ask_again, now)
    if ours is not None or state.refund.failed:
        return failed(operation, ours)
    return _wish(saga, operation, call, left, answer, now)


def _wish(
    saga: Saga, operation: Operation, call: RefundCall, left: int, listed: RefundsListed, now: datetime
) -> Operation:
    """None of ours is there and something is left: the wish goes out, under the same claim.

    One whose outcome nobody knows is repeated with the same key, the same amount and the same basis. Where it cannot be,
    it must first be certain that it made nothing.
    """
    state, limits = operation.state_of(operation.step), saga.limits_of(call)
    changed = state.refund.amount not in {None, left}
    if in_doubt(state) and (changed or key_expired(state.undo, limits, now)):
        unproven = _unproven(operation, state, limits, listed, now)
        if unproven is not None:
            return unproven
        changed = True
    refund, sendings = state.refund, state.undo
    # A wish that was refused is over, and its key may be answered with that refusal for ever.
    if (changed or (sendings.refused and not in_doubt(state))) and sendings.count:
        refund, sendings = next_refund(refund), NO_SENDINGS
    # Another basis is other bytes, and a key that was sent is refused with those.
    basis = refund.basis if sendings.count else listed.basis
    planned = with_step(operation, state.name, refund=replace(refund, amount=left, basis=basis), undo=sendings)
    # Its attempt is one of its own, and an attempt has its lease for its place.
    return replace(planned, action=Action.UNDO, lease=operation.lease + 1)


def _unproven(
    operation: Operation, state: StepState, limits: Limits, listed: RefundsListed, now: datetime
) -> Operation | None:
    """What becomes of the operation while the list does not prove that our wish made nothing; None where it does."""
    asked_at = operation.last_run_at or now
    settled = settled_at(state.undo, limits, asked_at)
    if settled > asked_at:
        uncounted = replace(released(operation), attempt=operation.attempt - 1, action=Action.LOOKUP)
        return replace(uncounted, status=Status.ERROR, next_run_at=min(max(settled, now), operation.deadline))
    if listed.complete:
        return None
    detail = "nobody knows whether the refund was made, and it cannot be asked for again"
    error = operation.last_error or LastError(Outcome.UNKNOWN, detail)
    return hold(replace(operation, last_error=error, action=Action.LOOKUP), HeldReason.UNDO_EXHAUSTED)


def wish_answered(saga: Saga, operation: Operation, answer: Answer, now: datetime, jitter: float) -> Operation:
    """The answer to our wish for a refund has come, or will never come."""
    state = operation.state_of(operation.step)
    sendings = answered(state.undo, answer)
    if sendings.conflict:
        # A wish with this key is running there, and whatever is answered next says nothing of that one.
        sendings = replace(sendings, unknown=sendings.unknown + 1, conflict=False)
    after = with_step(operation, state.name, undo=sendings)
    if state.status not in NEEDS_UNDO:
        # An event has told so while the wish was out.
        return compensate(saga, after, now)
    if isinstance(answer, RefundAnswered):
        standing = answer.refund.standing
        if state.refund.failed or standing is RefundStanding.FAILED:
            return failed(after, answer.refund)
        if standing is RefundStanding.SUCCEEDED:
            return given_back(saga, after, answer.refund, now)
        return _wait(after, answer.refund, answer.ask_again, now)
    if state.refund.failed:
        return failed(after, None)
    if isinstance(answer, StepRejected):
        return hold(replace(after, last_error=answer.error, action=Action.LOOKUP), HeldReason.UNDO_REJECTED)
    return _in_vain(saga, after, answer, now, jitter)


def given_back(saga: Saga, operation: Operation, ours: KnownRefund | None, now: datetime) -> Operation:
    """The money is back, by us or (None) by others: the step is undone."""
    return compensate(saga, undone(operation, ours), now)


def undone(operation: Operation, ours: KnownRefund | None) -> Operation:
    """The operation with its payment given back."""
    return with_step(_noted(operation, ours), operation.steps[0].name, status=StepStatus.UNDONE, absent=False)


def failed(operation: Operation, ours: KnownRefund | None) -> Operation:
    """Our refund has failed for certain: a human's retry makes another one."""
    name = operation.steps[0].name
    noted = _noted(operation, ours)
    proven = with_step(noted, name, refund=replace(noted.state_of(name).refund, failed=True))
    error = LastError(Outcome.REJECTED, f"the refund {ours.id} has failed" if ours else "the refund has failed")
    return hold(replace(proven, step=name, last_error=error, action=Action.LOOKUP), HeldReason.REFUND_FAILED)


def has_failed(state: StepState, ours: KnownRefund) -> bool:
    """Whether there is proof that a refund of ours has failed which is told to stand: it is told late, then."""
    return state.refund.failed and ours.id == state.refund.id and ours.standing is not RefundStanding.FAILED


def _wait(operation: Operation, ours: KnownRefund | None, ask_again: timedelta, now: datetime) -> Operation:
    """Our refund is under way there."""
    at = now + min(ask_again, LONGEST_WAIT)
    return replace(
        released(_noted(operation, ours)),
        status=Status.WAITING,
        action=Action.LOOKUP,
        attempt=0,
        last_error=None,
        next_run_at=min(at, operation.deadline),
    )


def _noted(operation: Operation, ours: KnownRefund | None) -> Operation:
    """What we know of our refund now, and with it of the wishes that nobody knew the outcome of."""
    state = operation.steps[0]
    refund = state.refund
    if ours is not None and ours.id not in refund.former:
        refund = replace(refund, id=ours.id)
    known = replace(state.undo, unknown=0)
    return with_step(operation, state.name, refund=refund, undo=known)


def _in_vain(saga: Saga, operation: Operation, answer: Answer, now: datetime, jitter: float) -> Operation:
    """Nothing was learnt, or nothing given: the list is asked again, as often as `undo_retry` says."""
    error = getattr(answer, "error", None) or LastError(Outcome.UNKNOWN, "no answer")
    after = replace(operation, last_error=error, action=Action.LOOKUP)
    policy = saga.steps[saga.index(operation.step)].undo_retry
    if operation.attempt >= policy.maximum_attempts or now >= operation.deadline:
        return hold(after, HeldReason.UNDO_EXHAUSTED)
    asked = answer.retry_at if isinstance(answer, StepUnavailable | StepUnknown | LookupAnswered) else None
    return again(after, retry_at(policy, operation.attempt, now, jitter, asked))
