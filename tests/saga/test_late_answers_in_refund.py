"""Late answers while money goes back: of a step whose undo is due, and of an undo itself."""

import pytest

from app.saga.model import Action, HeldReason, Status, StepStatus
from app.saga.signals import Answer, CancelRequested, LeaseExpired, Signal
from tests.saga.late import TWO, crashed, late
from tests.saga.stage import (
    HOUR,
    IN_FLIGHT,
    MINUTE,
    Play,
    done,
    rejected,
    saga_of,
    step,
    unavailable,
    unknown,
)


class TestInRefund:
    def waiting_for_in_flight(self) -> Play:
        play = crashed()
        play.tell(CancelRequested())
        play.now = play.operation.updated_at + 2 * MINUTE
        return play

    def test_done_while_its_undo_waits_is_undone_at_once(self) -> None:
        play = Play(TWO)
        play.send()
        play.tell(LeaseExpired())
        play.tell(CancelRequested())
        assert play.operation.next_run_at == play.now + IN_FLIGHT
        play.tell(late(done()))
        assert (play.operation.status, play.operation.next_run_at) == (Status.PENDING, play.now)

    @pytest.mark.parametrize(
        ("answer", "status"), [(unavailable(), StepStatus.FAILED), (rejected(), StepStatus.REJECTED)]
    )
    def test_certainty_that_it_did_nothing_spares_its_undo(self, answer: Answer, status: StepStatus) -> None:
        play = self.waiting_for_in_flight()
        play.tell(late(answer))
        assert play.state("flight") is status
        assert play.send().step == "payment"

    def test_certainty_after_the_claim_spares_its_undo(self) -> None:
        play = self.waiting_for_in_flight()
        play.claim()
        play.tell(late(rejected()))
        assert play.begin() is None
        assert play.send().step == "payment"

    @pytest.mark.parametrize("answer", [rejected(422), rejected(404), unavailable(), unknown(), done()])
    def test_certainty_while_its_undo_is_out_settles_it_whatever_that_brings(self, answer: Signal) -> None:
        """Trap: the undo of a step that never happened is refused, and an operation is held for nothing."""
        play = self.waiting_for_in_flight()
        play.send()
        play.tell(late(rejected()))
        play.tell(answer)
        assert play.send().step == "payment"

    def test_done_behind_nothing_there_is_undone_again_before_the_money_goes_back(self) -> None:
        """Trap: the undo found nothing; the purchase's late answer says that it was made."""
        play = self.waiting_for_in_flight()
        play.run(rejected(404))
        assert (play.operation.step, play.state("flight")) == ("payment", StepStatus.UNDONE)
        play.tell(late(done()))
        assert play.send().step == "flight"
        play.tell(done())
        assert play.send().step == "payment"

    def test_done_behind_nothing_there_while_the_refund_is_out_is_undone_after_it(self) -> None:
        play = self.waiting_for_in_flight()
        play.run(rejected(404))
        play.send()
        play.tell(late(done()))
        play.tell(done())
        assert (play.operation.status, play.operation.step) == (Status.PENDING, "flight")
        play.run(done())
        assert play.operation.status is Status.REFUNDED
        assert [name for name, action, _, _ in play.calls if action is Action.UNDO] == ["flight", "payment", "flight"]

    def test_done_behind_a_refund_is_held(self) -> None:
        """Trap 16: goods and money both gone, and the books closed."""
        play = self.waiting_for_in_flight()
        play.run(rejected(404), done())
        assert play.operation.status is Status.REFUNDED
        play.tell(late(done()))
        assert (play.operation.status, play.operation.held_reason) == (Status.HELD, HeldReason.CONTRADICTED)
        assert play.operation.finished_at is None

    def test_done_behind_an_undo_that_was_carried_out_is_no_contradiction(self) -> None:
        play = self.waiting_for_in_flight()
        play.run(done(), done())
        assert play.decide(late(done())) is None

    def test_done_again_behind_nothing_there_of_a_done_step_is_no_contradiction(self) -> None:
        """A done step whose unknown undo was followed by 404: we knew that it was done, and it is undone."""
        play = crashed()
        play.run(done())
        play.tell(CancelRequested())
        play.run(unknown(), rejected(404), done())
        assert play.operation.status is Status.REFUNDED
        assert play.decide(late(done())) is None

    def test_done_of_a_step_that_need_not_be_undone_is_no_contradiction(self) -> None:
        play = Play(saga_of(step("mail", undo=False, undo_needed=False)))
        play.send()
        play.tell(LeaseExpired())
        play.tell(CancelRequested())
        play.run(done())
        assert play.operation.status is Status.REFUNDED
        assert play.decide(late(done(), "mail")) is None

    def test_done_while_held_is_noted_and_keeps_it_held(self) -> None:
        play = self.waiting_for_in_flight()
        play.run(rejected(422))
        play.tell(late(done("ref")))
        assert (play.operation.status, play.state("flight")) == (Status.HELD, StepStatus.UNDO_FAILED)
        state = play.operation.state_of("flight")
        assert state.did
        assert state.result == "ref", "its undo may need it"


class TestOfAnUndo:
    def undoing(self) -> Play:
        play = Play(TWO)
        play.run(done())
        play.tell(CancelRequested())
        play.send()
        play.wait(MINUTE)
        play.tell(LeaseExpired())
        return play

    def test_done_goes_on_to_the_next(self) -> None:
        play = self.undoing()
        play.tell(late(done(), action=Action.UNDO))
        assert play.state("flight") is StepStatus.UNDONE
        assert play.send().step == "payment"

    @pytest.mark.parametrize("answer", [rejected(422), unavailable(), unknown(), done(), LeaseExpired()])
    def test_done_while_it_is_out_again_settles_it_whatever_that_brings(self, answer: Signal) -> None:
        play = self.undoing()
        play.send()
        play.tell(late(done(), action=Action.UNDO))
        play.tell(answer)
        assert play.send().step == "payment"

    def test_done_of_the_refund_after_its_deadline_is_refunded(self) -> None:
        play = Play(saga_of(undo_deadline=HOUR, refund_attempts=99), None)
        play.claim()
        play.tell(CancelRequested())
        play.begin()
        play.send()
        play.tell(LeaseExpired())
        play.wait(2 * HOUR)
        play.claim()
        play.tell(late(done(), "payment", Action.UNDO))
        assert play.begin() is None
        assert play.operation.status is Status.REFUNDED

    def test_a_refusal_or_unavailable_takes_back_that_it_was_unknown(self) -> None:
        answers: tuple[Answer, ...] = (rejected(), unavailable())
        for answer in answers:
            play = self.undoing()
            play.tell(late(answer, action=Action.UNDO))
            assert play.operation.state_of("flight").undo.unknown == 0
            assert (play.operation.step, play.operation.status) == ("flight", Status.ERROR)

    def test_done_while_held_is_noted_and_keeps_it_held(self) -> None:
        play = self.undoing()
        play.run(rejected(422))
        play.tell(late(done(), action=Action.UNDO))
        assert (play.operation.status, play.state("flight")) == (Status.HELD, StepStatus.UNDONE)
