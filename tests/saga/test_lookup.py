"""The lookup: when it is asked, and what its answers mean."""

from dataclasses import replace

import pytest

from app.saga.model import Action, Phase, Reason, Status, StepStatus
from app.saga.signals import CancelRequested, DeadlinePassed, LeaseExpired, Signal
from tests.saga.stage import (
    HOUR,
    IN_FLIGHT,
    LIMITS,
    MINUTE,
    SECOND,
    Play,
    absent,
    created,
    done,
    found,
    rejected,
    saga_of,
    step,
    unavailable,
    unclear,
    unknown,
)


class TestLookup:
    """The lookup is asked when nothing more is sent and the step is unknown."""

    SAGA = saga_of(step("flight"), step("hotel", lookup=True, attempts=2), step("car"))

    def asking(self) -> Play:
        play = Play(self.SAGA)
        play.run(done(), unknown(), unavailable())
        assert (play.operation.phase, play.operation.action) == (Phase.PURCHASE, Action.LOOKUP)
        return play

    def test_it_is_put_off_until_in_flight_is_over(self) -> None:
        """Trap: asked too early it answers "not there", and the late purchase lands behind the refund."""
        play = self.asking()
        last_sent = play.operation.state_of("hotel").do.last_at
        assert last_sent is not None
        assert (play.operation.status, play.operation.next_run_at) == (Status.ERROR, last_sent + IN_FLIGHT)

    def test_a_longer_in_flight_in_the_configuration_is_waited_for_by_one_that_is_claimed(self) -> None:
        play = self.asking()
        play.claim()
        longer = replace(LIMITS, in_flight=10 * MINUTE)
        play.saga = replace(play.saga, limits=dict.fromkeys(play.saga.limits, longer))
        assert play.begin() is None
        last_sent = play.operation.state_of("hotel").do.last_at
        assert last_sent is not None
        assert (play.operation.action, play.operation.next_run_at) == (Action.LOOKUP, last_sent + 10 * MINUTE)

    def test_it_has_no_idempotency_key_and_counts_for_itself(self) -> None:
        play = self.asking()
        play.run(unclear())
        assert [(a, n, key) for _, a, n, key in play.calls if a is Action.LOOKUP] == [(Action.LOOKUP, 1, None)]

    def test_done_goes_forward_with_its_body_as_the_result(self) -> None:
        play = self.asking()
        play.run(found({"ref": 9}), done())
        assert play.operation.status is Status.SUCCEEDED
        assert play.operation.state_of("hotel").result == {"ref": 9}

    def test_absent_turns_to_refund_and_the_step_is_not_undone(self) -> None:
        play = self.asking()
        play.run(absent())
        assert (play.operation.reason, play.state("hotel")) == (Reason.ATTEMPTS_EXHAUSTED, StepStatus.FAILED)
        assert play.send().step == "flight"

    def test_a_refusal_after_an_unknown_sending_asks_it_and_keeps_its_reason(self) -> None:
        play = Play(self.SAGA)
        play.run(done(), unknown(), rejected())
        assert play.operation.action is Action.LOOKUP
        assert play.state("hotel") is StepStatus.UNKNOWN
        play.run(absent())
        assert (play.operation.reason, play.state("hotel")) == (Reason.REJECTED, StepStatus.REJECTED)

    def test_it_is_asked_as_often_as_retry_allows_and_then_the_step_is_undone(self) -> None:
        play = self.asking()
        play.run(unclear(), unavailable())
        assert (play.operation.phase, play.operation.reason) == (Phase.REFUND, Reason.ATTEMPTS_EXHAUSTED)
        assert play.state("hotel") is StepStatus.UNKNOWN
        sending = play.send()
        assert (sending.step, sending.action) == ("hotel", Action.UNDO)

    def test_its_worker_may_die_and_that_counts_for_it(self) -> None:
        play = self.asking()
        play.send()
        play.tell(LeaseExpired())
        assert (play.operation.status, play.operation.failure_count) == (Status.ERROR, 1)
        assert play.operation.state_of("hotel").do.unknown == 1, "the lookup's crash is no sending of the do"

    def test_a_409_at_the_end_is_asked_for_too(self) -> None:
        play = Play(self.SAGA)
        play.run(done(), unavailable(), unavailable(409))
        assert (play.operation.action, play.state("hotel")) == (Action.LOOKUP, StepStatus.UNKNOWN)

    @pytest.mark.parametrize("answer", [found(), absent(), unclear(), LeaseExpired()])
    def test_a_cancel_while_it_is_out_waits_for_its_answer(self, answer: Signal) -> None:
        play = self.asking()
        play.send()
        play.tell(CancelRequested())
        play.tell(answer)
        assert (play.operation.phase, play.operation.reason) == (Phase.REFUND, Reason.CANCELLED)
        expected: dict[Signal, StepStatus] = {found(): StepStatus.DONE, absent(): StepStatus.FAILED}
        assert play.state("hotel") is expected.get(answer, StepStatus.UNKNOWN)

    def test_a_cancel_or_the_deadline_before_it_undoes_the_step_instead(self) -> None:
        for stop, reason in ((CancelRequested(), Reason.CANCELLED), (DeadlinePassed(), Reason.DEADLINE_PASSED)):
            play = self.asking()
            play.now = play.operation.deadline
            play.tell(stop)
            assert (play.operation.reason, play.state("hotel")) == (reason, StepStatus.UNKNOWN)
            assert (play.send().step, play.calls[-1][1]) == ("hotel", Action.UNDO)

    def test_found_after_the_deadline_is_undone(self) -> None:
        play = self.asking()
        play.send()
        play.wait(2 * HOUR)
        play.tell(found())
        assert (play.operation.reason, play.state("hotel")) == (Reason.DEADLINE_PASSED, StepStatus.DONE)

    def test_in_flight_beyond_the_deadline_ends_at_the_deadline(self) -> None:
        saga = saga_of(step("hotel", lookup=True, attempts=1), deadline=30 * SECOND)
        play = Play(saga, created(saga))
        play.run(unknown())
        assert play.operation.next_run_at == play.operation.deadline
        play.claim()
        assert play.begin() is None
        assert play.operation.reason is Reason.DEADLINE_PASSED

    def test_what_is_certain_needs_no_lookup(self) -> None:
        play = Play(self.SAGA)
        play.run(done(), unavailable(), unavailable())
        assert (play.operation.phase, play.state("hotel")) == (Phase.REFUND, StepStatus.FAILED)
