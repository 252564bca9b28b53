"""What holds for every decision: its cause, its revision, and the signals that cannot be."""

from dataclasses import fields

import pytest

from app.errors import IllegalSignal
from app.saga.call import call_document, idempotency_key
from app.saga.model import Action, Operation, Phase, Status
from app.saga.signals import (
    CancelRequested,
    DeadlinePassed,
    Deferred,
    LateAnswer,
    LeaseExpired,
    Resolved,
    RetryRequested,
    Signal,
    StepResolved,
)
from tests.saga.stage import NOON, Play, created, done, found, rejected, saga_of, step, unavailable, unclear, unknown

TWO = saga_of(step("flight", lookup=True, attempts=2), step("hotel"))
OF_A_CLAIM: tuple[Signal, ...] = (
    done(),
    rejected(),
    unavailable(),
    unknown(),
    found(),
    LeaseExpired(),
    Deferred(NOON),
)


@pytest.mark.parametrize("signal", OF_A_CLAIM)
def test_what_ends_a_claim_is_illegal_where_there_is_none(signal: Signal) -> None:
    play = Play(TWO)
    with pytest.raises(IllegalSignal, match="pending"):
        play.decide(signal)


def test_an_answer_must_be_one_to_what_was_asked() -> None:
    play = Play(TWO)
    play.send()
    with pytest.raises(IllegalSignal, match="lookup"):
        play.decide(unclear())
    play.tell(unknown())
    play.run(unknown())
    play.send()
    assert play.operation.action is Action.LOOKUP
    with pytest.raises(IllegalSignal, match="lookup"):
        play.decide(done())


def test_the_cause_is_the_signals_name_as_a_word() -> None:
    play = Play(TWO)
    causes: dict[str, Signal] = {
        "step_done": done(),
        "step_rejected": rejected(),
        "step_unavailable": unavailable(),
        "step_unknown": unknown(),
        "lease_expired": LeaseExpired(),
        "deferred": Deferred(NOON),
        "cancel_requested": CancelRequested(),
    }
    play.send()
    for cause, signal in causes.items():
        transition = play.decide(signal)
        assert transition is not None
        assert transition.cause == cause
    play.tell(unknown())
    play.now = play.operation.deadline
    later: dict[str, Signal] = {
        "retry_requested": RetryRequested(),
        "resolved": Resolved(Status.SUCCEEDED),
        "step_resolved": StepResolved("flight", done=True),
        "late_answer": LateAnswer("flight", Action.DO, done()),
        "deadline_passed": DeadlinePassed(),
    }
    for cause, signal in later.items():
        transition = play.decide(signal)
        assert transition is not None
        assert transition.cause == cause


def test_nothing_is_changed_in_place() -> None:
    """A decision that loses its race at the door must leave no trace in what it was made on."""
    play = Play(TWO)
    play.send()
    before = play.operation
    copy = Operation(**{field.name: getattr(before, field.name) for field in fields(Operation)})
    for signal in (done(), rejected(), unknown(), CancelRequested()):
        play.decide(signal)
    assert before == copy


def test_a_lookup_has_no_idempotency_key() -> None:
    operation = created(TWO)
    assert idempotency_key(operation, "flight", Action.LOOKUP) is None
    assert idempotency_key(operation, "flight", Action.DO) == f"{operation.id}:flight:do"
    assert idempotency_key(operation, "flight", Action.UNDO) == f"{operation.id}:flight:undo"


def test_the_document_holds_the_results_so_far_and_in_an_undo_the_steps_own() -> None:
    play = Play(TWO)
    play.run(done({"ref": "F1"}), done({"ref": "H1"}))
    play.tell(CancelRequested(undo_succeeded=True))
    assert play.operation.phase is Phase.REFUND
    event = {"type": "payment.received"}
    document = call_document(play.operation, "hotel", event, undo=True)
    assert document == {
        "operation_id": str(play.operation.id),
        "source": "shop",
        "external_id": "pay_1",
        "order_id": "order-1",
        "amount": 1999,
        "currency": "EUR",
        "step": "hotel",
        "results": {"flight": {"ref": "F1"}, "hotel": {"ref": "H1"}},
        "event": event,
    }
    assert call_document(play.operation, "hotel", event, undo=False)["results"] == {"flight": {"ref": "F1"}}
