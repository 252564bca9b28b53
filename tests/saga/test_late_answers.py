"""Answers of workers whose lease was taken over: stored, and decided upon as evidence for their step."""

from dataclasses import replace

import pytest

from app.saga.model import Action, HeldReason, Phase, Reason, Status, StepStatus
from app.saga.signals import Answer, CancelRequested, LateAnswer, LeaseExpired, Signal
from tests.saga.stage import (
    HOUR,
    IN_FLIGHT,
    MINUTE,
    Play,
    absent,
    done,
    found,
    rejected,
    saga_of,
    step,
    unavailable,
    unclear,
    unknown,
)

TWO = saga_of(step("flight"), step("hotel"))
WITH_LOOKUP = saga_of(step("flight", lookup=True), step("hotel"))


def late(answer: Answer, name: str = "flight", action: Action = Action.DO) -> LateAnswer:
    return LateAnswer(name, action, answer)


def crashed(*before: Signal) -> Play:
    """The flight's call is out, and its worker is not heard of any more."""
    play = Play(TWO)
    play.run(*before)
    play.send()
    play.wait(MINUTE)
    play.tell(LeaseExpired())
    return play


def test_done_while_it_waits_to_be_sent_again_goes_forward() -> None:
    """Trap 3: the answer of a worker that was paused is thrown away, and the booking reference with it."""
    play = crashed()
    play.tell(late(done("ref")))
    assert (play.operation.step, play.operation.status) == ("hotel", Status.PENDING)
    assert play.operation.state_of("flight").result == "ref"
    assert play.operation.last_error is None


def test_done_of_the_last_step_is_success() -> None:
    play = Play(saga_of(step("flight")))
    play.send()
    play.tell(LeaseExpired())
    play.tell(late(done()))
    assert play.operation.status is Status.SUCCEEDED


def test_done_after_the_deadline_is_undone() -> None:
    play = crashed()
    play.wait(2 * HOUR)
    play.tell(late(done()))
    assert (play.operation.reason, play.state("flight")) == (Reason.DEADLINE_PASSED, StepStatus.DONE)
    assert play.send().step == "flight"


@pytest.mark.parametrize("answer", [unknown(), unavailable(), rejected(), done("second"), LeaseExpired()])
def test_done_while_the_call_is_out_again_makes_the_step_done_whatever_that_one_brings(answer: Signal) -> None:
    play = crashed()
    play.send()
    play.tell(late(done("first")))
    assert play.operation.status is Status.PROCESSING, "whose lease it is, is not changed"
    play.tell(answer)
    assert (play.operation.step, play.state("flight")) == ("hotel", StepStatus.DONE)


def test_done_between_the_next_claim_and_its_call_keeps_the_call_back() -> None:
    play = crashed()
    play.claim()
    play.tell(late(done()))
    assert play.begin() is None
    assert play.operation.step == "hotel"


def test_done_with_a_cancel_meanwhile_is_undone() -> None:
    play = crashed()
    play.send()
    play.tell(CancelRequested())
    play.tell(late(done()))
    play.tell(unknown())
    assert (play.operation.reason, play.state("flight")) == (Reason.CANCELLED, StepStatus.DONE)


def test_a_refusal_of_the_only_unknown_sending_turns_to_refund() -> None:
    play = crashed()
    play.tell(late(rejected()))
    assert (play.operation.reason, play.state("flight")) == (Reason.REJECTED, StepStatus.REJECTED)
    assert play.send().step == "payment"


def test_a_refusal_beside_another_unknown_sending_stops_the_sending_but_proves_nothing() -> None:
    play = crashed(unknown())
    play.tell(late(rejected()))
    assert (play.operation.reason, play.state("flight")) == (Reason.REJECTED, StepStatus.UNKNOWN)


def test_a_refusal_between_the_next_claim_and_its_call_keeps_the_call_back() -> None:
    """Rule: nothing is sent after a refusal."""
    play = crashed()
    play.claim()
    play.tell(late(rejected()))
    assert play.begin() is None
    assert (play.operation.reason, play.state("flight")) == (Reason.REJECTED, StepStatus.REJECTED)


def test_a_refusal_while_the_call_is_out_again_is_kept_until_that_one_ends() -> None:
    play = crashed()
    play.send()
    play.tell(late(rejected()))
    assert play.state("flight") is StepStatus.UNKNOWN
    play.tell(unavailable())
    assert (play.operation.reason, play.state("flight")) == (Reason.REJECTED, StepStatus.REJECTED)


def test_unavailable_takes_back_that_it_was_unknown() -> None:
    play = crashed()
    play.tell(late(unavailable()))
    assert (play.operation.status, play.state("flight")) == (Status.ERROR, StepStatus.TODO)
    play.wait(3 * HOUR)
    assert play.send().step == "payment"
    assert play.state("flight") is StepStatus.FAILED


def test_a_refusal_of_one_sending_after_another_was_done_says_nothing() -> None:
    play = crashed()
    play.run(done())
    assert play.decide(late(rejected())) is None
    assert play.decide(late(unavailable())) is None


def test_a_late_409_proves_nothing() -> None:
    play = crashed()
    assert play.decide(late(unavailable(409))) is None
    assert play.decide(late(unknown())) is None


class TestBesideALookup:
    def asking(self, *answers: Signal) -> Play:
        play = Play(WITH_LOOKUP)
        play.run(*answers)
        play.send()
        play.tell(LeaseExpired())
        assert (play.operation.action, play.operation.status) == (Action.LOOKUP, Status.ERROR)
        return play

    def test_done_makes_it_needless(self) -> None:
        play = self.asking(unavailable(), unavailable())
        play.tell(late(done()))
        assert (play.operation.step, play.operation.action) == ("hotel", Action.DO)

    @pytest.mark.parametrize(
        ("answer", "status"), [(unavailable(), StepStatus.FAILED), (rejected(), StepStatus.REJECTED)]
    )
    def test_certainty_makes_it_needless(self, answer: Answer, status: StepStatus) -> None:
        play = self.asking(unavailable(), unavailable())
        play.tell(late(answer))
        assert (play.operation.phase, play.state("flight")) == (Phase.REFUND, status)

    def test_certainty_after_the_claim_keeps_it_back(self) -> None:
        play = self.asking(unavailable(), unavailable())
        play.claim()
        play.tell(late(unavailable()))
        assert play.begin() is None
        assert (play.operation.phase, play.state("flight")) == (Phase.REFUND, StepStatus.FAILED)

    @pytest.mark.parametrize("answer", [unclear(), absent()])
    def test_certainty_while_it_is_out_ends_it(self, answer: Signal) -> None:
        play = self.asking(unavailable(), unavailable())
        play.send()
        play.tell(late(rejected()))
        play.tell(answer)
        assert (play.operation.phase, play.state("flight")) == (Phase.REFUND, StepStatus.REJECTED)

    @pytest.mark.parametrize("answer", [unclear(), absent(), found("again"), LeaseExpired()])
    def test_done_while_it_is_out_goes_forward_whatever_it_says(self, answer: Signal) -> None:
        play = self.asking(unavailable(), unavailable())
        play.send()
        play.tell(late(done("ref")))
        play.tell(answer)
        assert (play.operation.step, play.state("flight")) == ("hotel", StepStatus.DONE)

    def test_a_late_lookup_is_evidence_where_it_found_it_and_none_where_it_did_not(self) -> None:
        play = self.asking(unavailable(), unavailable())
        assert play.decide(late(absent(), action=Action.LOOKUP)) is None
        assert play.decide(late(unclear(), action=Action.LOOKUP)) is None
        play.tell(late(found("ref"), action=Action.LOOKUP))
        assert play.operation.step == "hotel"


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


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.REFUNDED])
def test_of_an_operation_that_retention_has_emptied_it_changes_nothing(status: Status) -> None:
    play = Play(TWO)
    play.operation = replace(play.operation, status=status, steps=(), finished_at=play.now, next_run_at=None)
    assert play.decide(late(done())) is None
