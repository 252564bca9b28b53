"""What a worker that has claimed an operation is to send, or the decision that stands without a call."""

from datetime import datetime, timedelta
from typing import NamedTuple

from app.saga.call import idempotency_key
from app.saga.compensate import compensate, given_elsewhere, hold, next_undo, refund_overdue, undo_from
from app.saga.definition import Call, LocalCall, Lookup, RefundCall, Saga, Step
from app.saga.evidence import changed, sent
from app.saga.forward import advance_to_next, evidence_needed, no_more_to_learn, stop_reason, turn
from app.saga.model import Action, HeldReason, Operation, Phase, Sendings, StepStatus, Transition
from app.saga.refund_facts import present_key
from app.saga.retry import key_expired, settled_at
from app.saga.values import replace


class Sending(NamedTuple):
    """What a worker is to send.

    Args:
        operation: the operation as it stands once the sending is on record; its revision is unchanged.
        attempt: the `Makegood-Attempt` of the call; a lookup's own count.
        key: the `Idempotency-Key`, of a refund what it is known by; None for a lookup.
    """

    operation: Operation
    step: str
    action: Action
    call: Call | Lookup
    attempt: int
    key: str | None
    timeout: timedelta


def prepare(saga: Saga, operation: Operation, now: datetime) -> Sending | Transition:
    """What is to be done with an operation that a worker has claimed: a call, or a decision that needs none.

    Args:
        saga: the one the operation began with, with its agents' limits of today.
        operation: in status `processing`, under the worker's lease.
        now: the database's time.
    """
    if operation.phase is Phase.PURCHASE:
        return _prepare_forward(saga, operation, now)
    return _prepare_undo(saga, operation, now)


def _prepare_forward(saga: Saga, operation: Operation, now: datetime) -> Sending | Transition:
    reason = stop_reason(operation, now)
    if reason:
        return Transition.of(operation, turn(saga, operation, reason, now), reason)
    step = saga.steps[saga.index(operation.step)]
    state = operation.state_of(step.name)
    if state.status is StepStatus.DONE or step.do is None:
        return Transition.of(operation, advance_to_next(operation, now), "step_done")
    if no_more_to_learn(operation, state):
        # A late answer has said so after the claim, or before it.
        return Transition.of(operation, evidence_needed(saga, operation, now), "late_answer")
    if operation.action is Action.LOOKUP and step.lookup is not None:
        if settled_at(state.do, saga.limits_of(step.do), now) > now:
            return Transition.of(operation, evidence_needed(saga, operation, now), "in_flight")
        return _question(saga, operation, step.lookup, now)
    if key_expired(state.do, saga.limits_of(step.do), now):
        return Transition.of(operation, evidence_needed(saga, operation, now), "key_expired")
    return _sending(saga, operation, step, step.do, now)


def _prepare_undo(saga: Saga, operation: Operation, now: datetime) -> Sending | Transition:
    step = next_undo(saga, operation)
    if step is None or step.undo is None or step.name != operation.step:
        return Transition.of(operation, compensate(saga, operation, now), "undo_next")
    if now >= operation.deadline:
        return Transition.of(operation, refund_overdue(operation), "deadline_passed")
    state = operation.state_of(step.name)
    if undo_from(saga, step, state, now) > now:
        return Transition.of(operation, compensate(saga, operation, now), "in_flight")
    if given_elsewhere(step, state):
        return Transition.of(operation, compensate(saga, operation, now), "refund_heard")
    if operation.action is Action.LOOKUP:
        return _question(saga, operation, step.undo, now)
    if key_expired(state.undo, saga.limits_of(step.undo), now):
        return Transition.of(operation, hold(operation, HeldReason.UNDO_EXHAUSTED), "key_expired")
    return _sending(saga, operation, step, step.undo, now)


def overdue(saga: Saga, sending: Sending, now: datetime) -> str | None:
    """What has ended since the sending was prepared, so that it must not go out any more; None where nothing has."""
    operation, call = sending.operation, sending.call
    if sending.action is Action.LOOKUP or isinstance(call, Lookup):
        return None
    if now >= operation.deadline:
        return "the deadline had passed"
    state = operation.state_of(sending.step)
    sendings = state.undo if sending.action is Action.UNDO else state.do
    return "its idempotency key had expired" if key_expired(sendings, saga.limits_of(call), now) else None


def _question(saga: Saga, operation: Operation, call: Call | Lookup, now: datetime) -> Sending:
    """A question, which changes nothing there."""
    begun = replace(operation, last_run_at=now)
    timeout = saga.limits_of(call).timeout
    return Sending(begun, operation.step, Action.LOOKUP, call, operation.attempt, None, timeout)


def _sending(saga: Saga, operation: Operation, step: Step, call: Call, now: datetime) -> Sending:
    action = operation.action
    state = operation.state_of(step.name)
    sendings: Sendings = sent(state.undo if action is Action.UNDO else state.do, now)
    if isinstance(call, LocalCall):
        # A local step that dies is rolled back by the database: nothing of it is ever out, or unknown.
        steps = changed(operation.steps, step.name, **{_field(action): replace(sendings, out=False)})
        timeout = call.timeout
    else:
        status = StepStatus.UNKNOWN if action is Action.DO else state.status
        steps = changed(operation.steps, step.name, status=status, **{_field(action): sendings})
        timeout = saga.limits_of(call).timeout
    if isinstance(call, RefundCall):
        key: str | None = present_key(call, operation, state)
    else:
        key = idempotency_key(operation, step.name, action)
    begun = replace(operation, steps=steps, last_run_at=now)
    return Sending(begun, step.name, action, call, sendings.count, key, timeout)


def _field(action: Action) -> str:
    return "undo" if action is Action.UNDO else "do"
