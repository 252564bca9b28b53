"""Answers of workers whose lease was taken over: stored, and decided upon as evidence for their step."""

from dataclasses import replace

import pytest

from app.saga.model import Action, Phase, Reason, Status, StepStatus
from app.saga.signals import Answer, CancelRequested, LeaseExpired, Signal
from tests.saga.late import TWO, crashed, late
from tests.saga.stage import (
    HOUR,
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

WITH_LOOKUP = saga_of(step("flight", lookup=True), step("hotel"))


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


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.REFUNDED])
def test_of_an_operation_that_retention_has_emptied_it_changes_nothing(status: Status) -> None:
    play = Play(TWO)
    play.operation = replace(play.operation, status=status, steps=(), finished_at=play.now, next_run_at=None)
    assert play.decide(late(done())) is None
