"""The purchase phase: step by step forward, until the last is done or the operation turns to refund."""

from datetime import datetime

from app.saga.compensate import compensate
from app.saga.definition import Saga
from app.saga.evidence import answered, changed, given_up, with_step
from app.saga.model import Action, LastError, Operation, Phase, Reason, Status, StepState, StepStatus
from app.saga.retry import again, released, retry_at, settled_at
from app.saga.signals import (
    Answer,
    Found,
    LookupAnswered,
    StepDone,
    StepUnavailable,
    StepUnknown,
)
from app.saga.values import replace


def stop_reason(operation: Operation, now: datetime) -> Reason | None:
    """Why nothing may be sent forward any more, if so: somebody's wish, or the deadline."""
    wish = _turned_by_others(operation)
    if wish:
        return wish
    return Reason.DEADLINE_PASSED if now >= operation.deadline else None


def _turned_by_others(operation: Operation) -> Reason | None:
    """Why it must turn to refund whatever a call brings: an operator's cancel, or the money was given back elsewhere."""
    if operation.cancel_requested_at is not None:
        return Reason.CANCELLED
    return Reason.REFUNDED_ELSEWHERE if operation.refunded_elsewhere else None


def advance_to_next(operation: Operation, now: datetime) -> Operation:
    """Goes on to the first step that is not done; with none left the purchase has succeeded."""
    for state in operation.steps:
        if state.status is not StepStatus.DONE:
            return released(
                operation,
                status=Status.PENDING,
                step=state.name,
                action=Action.DO,
                attempt=0,
                next_run_at=now,
                last_error=None,
            )
    return released(
        operation,
        status=Status.SUCCEEDED,
        step=operation.steps[-1].name,
        attempt=0,
        next_run_at=None,
        last_error=None,
        finished_at=now,
    )


def turn(saga: Saga, operation: Operation, reason: Reason, now: datetime) -> Operation:
    """Turns to refund, for good. Each step that is not proven done is given up as it stands."""
    turned = released(
        operation,
        phase=Phase.REFUND,
        reason=reason,
        held_reason=None,
        finished_at=None,
        attempt=0,
        deadline=now + saga.undo_deadline,
        steps=tuple(given_up(state) for state in operation.steps),
    )
    return compensate(saga, turned, now)


def do_answered(saga: Saga, operation: Operation, answer: Answer, now: datetime, jitter: float) -> Operation:
    """The answer to the do of the present step has come, or will never come."""
    state = operation.state_of(operation.step)
    sendings = answered(state.do, answer)
    if isinstance(answer, StepDone):
        known = {"status": StepStatus.DONE, "did": True, "result": answer.result}
        return _done(saga, with_step(operation, state.name, do=sendings, **known), now)
    if state.did:
        # An earlier call's late answer has proven it while this one was out: done once is done.
        return _done(saga, with_step(operation, state.name, do=sendings), now)
    status = StepStatus.UNKNOWN if sendings.unknown else StepStatus.TODO
    steps = changed(operation.steps, state.name, do=sendings, status=status)
    after = replace(operation, steps=steps, last_error=_error(answer))
    wish = _turned_by_others(operation)
    if wish:
        return turn(saga, after, wish, now)
    if sendings.refused:
        # This sending was, or by its late answer an earlier one: none follows a refusal.
        return evidence_needed(saga, after, now)
    if now >= operation.deadline:
        return turn(saga, after, Reason.DEADLINE_PASSED, now)
    policy = saga.steps[saga.index(state.name)].retry
    if operation.attempt >= policy.maximum_attempts:
        return evidence_needed(saga, after, now)
    return again(after, retry_at(policy, operation.attempt, now, jitter, _asked(answer)))


def lookup_answered(
    saga: Saga, operation: Operation, answer: LookupAnswered, now: datetime, jitter: float
) -> Operation:
    """The agent was asked whether the present step was carried out."""
    state = operation.state_of(operation.step)
    if answer.found is Found.DONE:
        done = with_step(operation, state.name, status=StepStatus.DONE, did=True, result=answer.result)
        return _done(saga, done, now)
    if state.did:
        return _done(saga, operation, now)
    refused = Reason.REJECTED if state.do.refused else Reason.ATTEMPTS_EXHAUSTED
    reason = stop_reason(operation, now) or refused
    if answer.found is Found.ABSENT:
        # It was asked after `in_flight`, so no sending can take effect any more.
        status = StepStatus.REJECTED if state.do.refused else StepStatus.FAILED
        nothing_done = with_step(operation, state.name, status=status, do=replace(state.do, unknown=0, conflict=False))
        return turn(saga, nothing_done, reason, now)
    unclear = replace(operation, last_error=answer.error)
    policy = saga.steps[saga.index(state.name)].retry
    in_vain = no_more_to_learn(operation, state)
    if stop_reason(operation, now) or in_vain or operation.attempt >= policy.maximum_attempts:
        return turn(saga, unclear, reason, now)
    return again(unclear, retry_at(policy, operation.attempt, now, jitter, answer.retry_at))


def no_more_to_learn(operation: Operation, state: StepState) -> bool:
    """Whether the call that stands next would be in vain: a late answer has settled meanwhile what it is for.

    That is a repetition after a refusal, and a lookup of a step that is not unknown any more.
    """
    if operation.action is Action.LOOKUP:
        return given_up(state).status is not StepStatus.UNKNOWN
    return state.do.refused


def evidence_needed(saga: Saga, operation: Operation, now: datetime) -> Operation:
    """Nothing more is sent for the present step: its lookup is asked, or the operation turns to refund.

    The lookup waits until `in_flight` is over: before that, "not there" would prove nothing.
    """
    state = operation.state_of(operation.step)
    step = saga.steps[saga.index(state.name)]
    unknown = given_up(state).status is StepStatus.UNKNOWN
    stopped = stop_reason(operation, now)
    if stopped or not unknown or step.lookup is None or step.do is None:
        return turn(saga, operation, _turn_reason(operation, now), now)
    asked_at = settled_at(state.do, saga.limits_of(step.do), now)
    return released(
        operation,
        status=Status.ERROR,
        action=Action.LOOKUP,
        attempt=0,
        next_run_at=min(asked_at, operation.deadline),
        steps=changed(operation.steps, state.name, status=StepStatus.UNKNOWN),
    )


def _turn_reason(operation: Operation, now: datetime) -> Reason:
    wish = _turned_by_others(operation)
    if wish:
        return wish
    if operation.state_of(operation.step).do.refused:
        return Reason.REJECTED
    return Reason.DEADLINE_PASSED if now >= operation.deadline else Reason.ATTEMPTS_EXHAUSTED


def _done(saga: Saga, operation: Operation, now: datetime) -> Operation:
    """The present step is done. After a cancel or the deadline what it brought is undone, also the last step's."""
    reason = stop_reason(operation, now)
    return turn(saga, operation, reason, now) if reason else advance_to_next(operation, now)


def _error(answer: Answer) -> LastError | None:
    return getattr(answer, "error", None)


def _asked(answer: Answer) -> datetime | None:
    return answer.retry_at if isinstance(answer, StepUnavailable | StepUnknown | LookupAnswered) else None
