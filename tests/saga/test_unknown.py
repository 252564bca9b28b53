"""What makes a step unknown, and what does not: a 409, a lease that ran out, and what is said later."""

import pytest

from app.saga.model import Action, Outcome, Reason, Status, StepStatus
from app.saga.signals import CancelRequested, DeadlinePassed, LeaseExpired, Signal
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
    unreached,
)

ONE = saga_of(step("purchase"))


def test_a_409_right_before_giving_up_leaves_the_step_unknown() -> None:
    """Rule: 409 says that a call with this key is running there; who stops right after it cannot know how it ends."""
    play = Play(saga_of(step("purchase", attempts=2)))
    play.run(unavailable(), unavailable(409))
    assert (play.operation.reason, play.state("purchase")) == (Reason.ATTEMPTS_EXHAUSTED, StepStatus.UNKNOWN)
    assert play.operation.status is Status.ERROR, "its undo waits until in_flight is over"
    assert play.operation.next_run_at == play.now + IN_FLIGHT


def test_a_409_before_the_last_answer_says_nothing() -> None:
    play = Play(saga_of(step("purchase", attempts=2)))
    play.run(unavailable(409), unavailable())
    assert play.state("purchase") is StepStatus.FAILED


def test_a_409_stays_when_nothing_reached_the_agent_after_it() -> None:
    """Trap: a crash before the sending, or a connection refused, took the agent's 409 back."""
    refused = Play(saga_of(step("purchase", attempts=2)))
    refused.run(unavailable(409), unreached())
    assert refused.state("purchase") is StepStatus.UNKNOWN
    crashed = Play(saga_of(step("purchase", attempts=2)))
    crashed.run(unavailable(409))
    crashed.claim()
    crashed.tell(LeaseExpired())
    assert crashed.state("purchase") is StepStatus.UNKNOWN


@pytest.mark.parametrize("stop", [CancelRequested(), DeadlinePassed()])
def test_a_409_and_then_a_cancel_or_the_deadline_leaves_the_step_unknown(stop: Signal) -> None:
    play = Play(ONE)
    play.run(unavailable(409))
    play.wait(HOUR)
    play.tell(stop)
    assert play.state("purchase") is StepStatus.UNKNOWN


def test_a_lease_that_ran_out_before_the_call_counts_but_leaves_nothing_unknown() -> None:
    """Trap 28: a payload that kills its process before the call would be claimed for ever; it is counted at the claim."""
    play = Play(ONE)
    for _ in range(3):
        play.claim()
        play.tell(LeaseExpired())
    assert play.calls == []
    assert (play.operation.reason, play.state("purchase")) == (Reason.ATTEMPTS_EXHAUSTED, StepStatus.TODO)
    assert play.operation.last_error is not None
    assert play.operation.last_error.kind is Outcome.CRASHED


def test_a_lease_that_ran_out_during_the_call_is_unknown_and_sent_again_with_the_same_key() -> None:
    """Trap 1: the worker dies after the supplier has bought; the purchase must neither be lost nor made twice."""
    play = Play(ONE)
    play.send()
    play.wait(MINUTE)
    play.tell(LeaseExpired())
    assert (play.operation.status, play.state("purchase")) == (Status.ERROR, StepStatus.UNKNOWN)
    assert play.operation.last_error is not None
    assert play.operation.last_error.kind is Outcome.CRASHED
    play.run(done())
    assert play.operation.status is Status.SUCCEEDED
    assert len({key for _, _, _, key in play.calls}) == 1


class TestUnknown:
    """One unknown sending makes the step unknown until there is evidence."""

    def test_a_later_refusal_speaks_for_its_own_sending_alone(self) -> None:
        """Trap 2: timeout, then 422 on the repetition; the first call may have bought all the same."""
        play = Play(ONE)
        play.run(unknown(), rejected())
        assert (play.operation.reason, play.state("purchase")) == (Reason.REJECTED, StepStatus.UNKNOWN)
        assert play.operation.next_run_at == play.now + IN_FLIGHT
        sending = play.send()
        assert (sending.step, sending.action) == ("purchase", Action.UNDO)

    def test_a_later_unavailable_speaks_for_its_own_sending_alone(self) -> None:
        play = Play(ONE)
        play.run(unknown(), unavailable(), unreached())
        assert (play.operation.reason, play.state("purchase")) == (Reason.ATTEMPTS_EXHAUSTED, StepStatus.UNKNOWN)

    def test_done_once_is_done(self) -> None:
        play = Play(ONE)
        play.run(unknown(), unknown(), done("bought"))
        assert play.operation.status is Status.SUCCEEDED
        assert play.operation.state_of("purchase").result == "bought"

    def test_it_is_never_left_by_time_alone(self) -> None:
        play = Play(ONE)
        play.run(unknown())
        play.wait(HOUR)
        play.tell(DeadlinePassed())
        assert play.state("purchase") is StepStatus.UNKNOWN
        assert play.send().action is Action.UNDO

    def test_a_local_step_is_never_unknown(self) -> None:
        """Rule: a local step's crash rolls it back, and counts as unavailable."""
        play = Play(saga_of(step("reserve", local=True)))
        play.send()
        assert play.state("reserve") is StepStatus.TODO
        play.tell(LeaseExpired())
        assert (play.operation.status, play.state("reserve")) == (Status.ERROR, StepStatus.TODO)
        play.run(unavailable(None), unavailable(None))
        assert (play.operation.reason, play.state("reserve")) == (Reason.ATTEMPTS_EXHAUSTED, StepStatus.FAILED)
