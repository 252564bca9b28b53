"""What is known of a step, and how each sending and each proof changes it."""

from datetime import datetime
from typing import Any

from app.saga.model import Action, Operation, Phase, Sendings, StepState, StepStatus
from app.saga.signals import (
    Answer,
    Found,
    LateAnswer,
    LookupAnswered,
    RefundBlocked,
    StepDone,
    StepRejected,
    StepUnavailable,
    StepUnknown,
)
from app.saga.values import replace

CONFLICT = 409


def with_step(operation: Operation, step: str, **changes: Any) -> Operation:
    """The operation with fields of one of its steps changed."""
    return replace(operation, steps=changed(operation.steps, step, **changes))


def changed(steps: tuple[StepState, ...], step: str, **changes: Any) -> tuple[StepState, ...]:
    """The states of an operation's steps with fields of one of them changed."""
    return tuple([replace(state, **changes) if state.name == step else state for state in steps])


def sent(sendings: Sendings, now: datetime) -> Sendings:
    """One more sending goes out at `now`; until its answer comes it may have arrived."""
    return replace(sendings, count=sendings.count + 1, last_at=now, out=True)


def went_out(operation: Operation, step: str, action: Action, at: datetime) -> Operation:
    """The sending that is out went out at `at`: later than it was put on record, as it waited for that and a connection.

    From here `in_flight` counts; counted from the record, the undo could overtake what it is to undo.
    """
    if action is Action.LOOKUP:
        return operation
    name = "undo" if action is Action.UNDO else "do"
    sendings: Sendings = getattr(operation.state_of(step), name)
    later = sendings.last_at is None or at > sendings.last_at
    return with_step(operation, step, **{name: replace(sendings, last_at=at)}) if sendings.out and later else operation


def answered(sendings: Sendings, answer: Answer) -> Sendings:
    """The sending that was out has its answer. It speaks for itself alone, not for the sendings before it."""
    unseen = isinstance(answer, StepUnavailable) and not answer.arrived
    arrived = sendings.out and not unseen
    first_at = (sendings.first_at or sendings.last_at) if arrived else sendings.first_at
    settled = replace(sendings, out=False, first_at=first_at)
    match answer:
        case StepUnknown():
            return replace(settled, unknown=sendings.unknown + 1)
        case StepRejected():
            return replace(settled, refused=True, conflict=False)
        case RefundBlocked(certain=certain):
            # What stands in the way may be what this very wish has done.
            return replace(settled, refused=True) if certain else replace(settled, unknown=sendings.unknown + 1)
        case StepUnavailable(error=error):
            # What the agent never saw does not take an earlier 409 back.
            return replace(settled, conflict=error.status == CONFLICT or (sendings.conflict and unseen))
        case _:
            return settled


def given_up(state: StepState) -> StepState:
    """The step as it stands when nothing more is sent forward for it.

    A 409 says that a call with this key is running there. Whoever stops right after it does not know how that ends.
    """
    if state.status not in {StepStatus.TODO, StepStatus.UNKNOWN}:
        return state
    if state.do.unknown or state.do.conflict:
        return replace(state, status=StepStatus.UNKNOWN)
    if state.do.refused:
        return replace(state, status=StepStatus.REJECTED)
    return replace(state, status=StepStatus.FAILED if state.do.count else StepStatus.TODO)


def late_evidence(operation: Operation, late: LateAnswer) -> StepState:
    """The step as it is known after an answer to one of its earlier calls; unchanged where the answer says nothing new.

    The call was counted as unknown when its lease ran out, so an answer that says for certain takes that back.
    """
    state = operation.state_of(late.step)
    match late.answer:
        case StepDone(result=result) if late.action is Action.UNDO:
            return _undone(state)
        case StepDone(result=result) | LookupAnswered(found=Found.DONE, result=result):
            return _proven(state, result)
        case StepRejected() | StepUnavailable() if late.action is Action.UNDO:
            return replace(state, undo=_one_less_unknown(state.undo, late.answer))
        case StepRejected() | StepUnavailable():
            return _not_carried_out(state, late.answer, operation.phase)
        case _:
            return state


def _proven(state: StepState, result: Any) -> StepState:
    """The step was carried out. An undo that was carried out since has taken it back; "nothing there" has not."""
    if state.did:
        # Nothing new, but for the result where a human's word was the proof so far.
        return replace(state, result=result) if state.result is None else state
    if state.status is StepStatus.UNDONE and not state.absent:
        return state
    return replace(
        state,
        status=StepStatus.UNDO_FAILED if state.status is StepStatus.UNDO_FAILED else StepStatus.DONE,
        did=True,
        absent=False,
        settled=False,
        result=result,
        do=replace(state.do, unknown=0),
    )


def _undone(state: StepState) -> StepState:
    """The undo was carried out."""
    if state.status not in {StepStatus.DONE, StepStatus.UNKNOWN, StepStatus.UNDO_FAILED}:
        return state
    return replace(state, status=StepStatus.UNDONE, absent=False, undo=replace(state.undo, unknown=0))


def _not_carried_out(state: StepState, answer: StepRejected | StepUnavailable, phase: Phase) -> StepState:
    """One sending of the do is now known to have done nothing."""
    if state.did:
        return state
    sendings = _one_less_unknown(state.do, answer)
    known = state.status is StepStatus.UNKNOWN and not (sendings.unknown or sendings.out or sendings.conflict)
    if not known:
        return replace(state, do=sendings)
    if sendings.refused:
        return replace(state, status=StepStatus.REJECTED, do=sendings)
    return replace(state, status=StepStatus.TODO if phase is Phase.PURCHASE else StepStatus.FAILED, do=sendings)


def _one_less_unknown(sendings: Sendings, answer: StepRejected | StepUnavailable) -> Sendings:
    if answer.error.status == CONFLICT:
        return sendings
    refused = sendings.refused or isinstance(answer, StepRejected)
    return replace(sendings, unknown=max(0, sendings.unknown - 1), refused=refused)
