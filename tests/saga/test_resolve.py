"""What a human's word settles: an operation, a step, and what contradicts it later."""

from collections.abc import Callable

import pytest

from app.errors import InvalidRequest, NotAllowed
from app.saga.model import Action, HeldReason, Phase, Reason, Status, StepStatus
from app.saga.signals import CancelRequested, LateAnswer, Resolved, RetryRequested, StepResolved
from tests.saga.stage import (
    DAY,
    IN_FLIGHT,
    Play,
    absent,
    done,
    rejected,
    unavailable,
    unknown,
)
from tests.saga.statuses import (
    EVERY,
    TWO,
    failing,
    held,
    held_at_hotel,
    refunding,
    waiting,
)


class TestResolve:
    def test_as_succeeded_ends_it_where_it_stands(self) -> None:
        play = failing()
        play.tell(Resolved(Status.SUCCEEDED))
        assert play.status == (Phase.PURCHASE, Status.SUCCEEDED)
        assert play.state("hotel") is StepStatus.TODO

    @pytest.mark.parametrize("make", [failing, waiting, refunding, held])
    def test_as_refunded_ends_it_with_nothing_more_called(self, make: Callable[[], Play]) -> None:
        play = make()
        play.tell(Resolved(Status.REFUNDED))
        assert play.status == (Phase.REFUND, Status.REFUNDED)
        assert play.operation.finished_at == play.now

    def test_as_succeeded_is_refused_while_a_step_is_undone(self) -> None:
        play = Play(TWO)
        play.run(done(), rejected(), done(), rejected())
        assert play.operation.held_reason is HeldReason.UNDO_REJECTED
        with pytest.raises(NotAllowed, match="flight is undone"):
            play.decide(Resolved(Status.SUCCEEDED))

    def test_a_held_purchase_may_be_called_a_success_while_nothing_is_undone(self) -> None:
        play = held()
        play.tell(Resolved(Status.SUCCEEDED))
        assert play.operation.status is Status.SUCCEEDED
        assert play.operation.held_reason is None


class TestResolveStep:
    def test_an_unknown_name_is_an_invalid_request_in_every_status(self) -> None:
        for make in EVERY.values():
            with pytest.raises(InvalidRequest, match="no such step") as caught:
                make().decide(StepResolved("cruise", done=True))
            assert caught.value.errors[0][0] == "/step"

    def test_the_present_step_settled_as_done_goes_forward(self) -> None:
        play = failing()
        play.tell(StepResolved("hotel", done=True))
        assert play.operation.status is Status.SUCCEEDED

    def test_a_later_step_settled_as_done_is_passed_over(self) -> None:
        play = Play(TWO)
        play.run(unavailable())
        play.tell(StepResolved("hotel", done=True))
        assert (play.operation.status, play.operation.step) == (Status.ERROR, "flight")
        play.run(done())
        assert play.operation.status is Status.SUCCEEDED

    def test_done_past_the_deadline_is_undone(self) -> None:
        play = failing()
        play.now = play.operation.deadline
        play.tell(StepResolved("hotel", done=True))
        assert (play.operation.reason, play.state("hotel")) == (Reason.DEADLINE_PASSED, StepStatus.DONE)
        assert play.send().step == "hotel"

    def test_a_step_settled_as_undone_in_the_purchase_phase_turns_it_to_refund(self) -> None:
        play = failing()
        play.tell(StepResolved("flight", done=False))
        assert (play.operation.phase, play.operation.reason) == (Phase.REFUND, Reason.CANCELLED)
        assert play.send().step == "payment"

    def test_a_step_settled_as_undone_in_the_refund_phase_lets_the_next_undo_go(self) -> None:
        play = held_at_hotel()
        play.tell(StepResolved("hotel", done=False))
        assert play.send().step == "flight"
        play.tell(done())
        play.run(done())
        assert play.operation.status is Status.REFUNDED

    def test_a_step_settled_as_done_in_the_refund_phase_is_undone_by_its_undo(self) -> None:
        play = held_at_hotel()
        play.tell(StepResolved("hotel", done=True))
        assert play.state("hotel") is StepStatus.DONE
        sending = play.send()
        assert (sending.step, sending.attempt) == ("hotel", 2)

    def test_done_after_an_unknown_undo_whose_key_is_forgotten_is_undone_all_the_same(self) -> None:
        """Rule: the human's word says that the unknown undo has done nothing, so it may be sent once more."""
        play = Play(TWO)
        play.run(done(), done())
        play.tell(CancelRequested(undo_succeeded=True))
        play.run(unknown())
        play.wait(DAY)
        play.idle()
        assert play.operation.held_reason is HeldReason.UNDO_EXHAUSTED
        play.tell(StepResolved("hotel", done=True))
        play.run(unknown(), done())
        assert play.state("hotel") is StepStatus.UNDONE

    def test_another_step_settled_while_one_waits_does_not_shorten_its_wait(self) -> None:
        play = Play(TWO)
        play.run(done(), unknown())
        sent = play.now
        play.tell(CancelRequested())
        play.tell(StepResolved("flight", done=False))
        assert (play.operation.step, play.operation.next_run_at) == ("hotel", sent + IN_FLIGHT)
        play.run(rejected(404))
        assert play.send().step == "payment"

    def test_the_undo_deadline_counts_anew_when_a_human_takes_it_up_again(self) -> None:
        play = refunding()
        play.now = play.operation.deadline
        play.idle()
        play.tell(StepResolved(play.operation.step, done=False))
        assert play.operation.deadline == play.now + TWO.undo_deadline

    def test_the_payment_settled_as_undone_ends_a_refund_without_a_call(self) -> None:
        play = Play(TWO)
        play.run(rejected(), rejected())
        assert (play.operation.step, play.operation.status) == ("payment", Status.HELD)
        play.tell(StepResolved("payment", done=False))
        assert play.operation.status is Status.REFUNDED


class TestContradicted:
    """What a human has settled stays open to proof, and a retry then gives no money back a second time."""

    def resolved(self) -> Play:
        play = Play(TWO)
        play.run(done(), unknown())
        play.tell(Resolved(Status.REFUNDED))
        return play

    def test_a_purchase_behind_a_refund_is_held(self) -> None:
        play = self.resolved()
        play.tell(LateAnswer("hotel", Action.DO, done("booked")))
        assert (play.operation.status, play.operation.held_reason) == (Status.HELD, HeldReason.CONTRADICTED)
        assert play.operation.step == "hotel"
        assert play.state("hotel") is StepStatus.DONE

    def test_its_retry_undoes_the_purchase_and_refunds_nothing_twice(self) -> None:
        """Trap 19: the human has refunded in the provider's dashboard; the retry refunded again."""
        play = self.resolved()
        play.tell(LateAnswer("hotel", Action.DO, done()))
        play.tell(RetryRequested())
        play.run(done())
        assert play.operation.status is Status.REFUNDED
        undos = [name for name, action, _, _ in play.calls if action is Action.UNDO]
        assert undos == ["hotel"], "neither the flight nor the payment, which the human has settled"

    def test_it_can_be_resolved_again(self) -> None:
        play = self.resolved()
        play.tell(LateAnswer("hotel", Action.DO, done()))
        play.tell(StepResolved("hotel", done=False))
        assert play.operation.status is Status.REFUNDED

    def test_a_step_that_a_human_did_not_find_and_that_was_bought_late_is_undone(self) -> None:
        """Trap: a human settles an unknown step as undone; the late answer proves the purchase, and nobody looks."""
        play = Play(TWO)
        play.run(done(), unknown())
        play.tell(CancelRequested())
        play.tell(StepResolved("hotel", done=False))
        play.tell(LateAnswer("hotel", Action.DO, done()))
        assert play.send().step == "hotel"

    def test_a_step_that_a_human_undid_knowing_of_it_stays_undone(self) -> None:
        play = held_at_hotel()
        play.tell(StepResolved("hotel", done=False))
        assert play.decide(LateAnswer("hotel", Action.DO, done())) is None

    def test_what_agrees_with_the_human_changes_nothing(self) -> None:
        play = self.resolved()
        assert play.decide(LateAnswer("flight", Action.DO, done())) is None
        assert play.decide(LateAnswer("hotel", Action.DO, rejected())) is None
        assert play.decide(LateAnswer("hotel", Action.DO, unknown())) is None
        assert play.decide(LateAnswer("hotel", Action.LOOKUP, absent())) is None

    def test_an_undo_behind_a_success_is_held(self) -> None:
        """Trap: a human calls it a success while an undo is under way that lands later."""
        play = held()
        play.tell(RetryRequested())
        play.run(unknown())
        play.tell(Resolved(Status.SUCCEEDED))
        play.tell(LateAnswer("flight", Action.UNDO, done()))
        assert play.operation.held_reason is HeldReason.CONTRADICTED
        assert play.state("flight") is StepStatus.UNDONE
        with pytest.raises(NotAllowed, match="flight is undone"):
            play.decide(Resolved(Status.SUCCEEDED))
        play.tell(RetryRequested())
        play.run(done())
        assert play.operation.status is Status.REFUNDED
