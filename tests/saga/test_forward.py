"""Step by step forward, and what turns an operation to refund."""

import pytest

from app.saga.model import Action, Outcome, Phase, Reason, Status, StepStatus
from app.saga.signals import CancelRequested, DeadlinePassed, Deferred, LeaseExpired, RetryRequested, Signal
from tests.saga.stage import (
    HOUR,
    IN_FLIGHT,
    MINUTE,
    NOON,
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
    unreached,
)

ONE = saga_of(step("purchase"))
TWO = saga_of(step("flight"), step("hotel"))


def test_each_step_is_sent_once_in_order_and_the_purchase_has_succeeded() -> None:
    play = Play(saga_of(step("flight"), step("hotel"), step("car")))
    play.run(done({"ref": 1}), done({"ref": 2}), done({"ref": 3}))
    assert play.status == (Phase.PURCHASE, Status.SUCCEEDED)
    assert [(name, action, attempt) for name, action, attempt, _ in play.calls] == [
        ("flight", Action.DO, 1),
        ("hotel", Action.DO, 1),
        ("car", Action.DO, 1),
    ]
    assert [state.result for state in play.operation.steps] == [None, {"ref": 1}, {"ref": 2}, {"ref": 3}]
    assert play.operation.finished_at == play.now


def test_a_saga_of_the_payment_alone_succeeds_without_a_call() -> None:
    play = Play(saga_of())
    assert play.idle().status is Status.SUCCEEDED


def test_the_idempotency_key_names_operation_step_and_action_and_nothing_that_changes() -> None:
    """Trap 21: an attempt or lease number in the key makes a second purchase of a takeover."""
    play = Play(ONE)
    play.run(unavailable(), unknown())
    play.send()
    play.wait(MINUTE)
    play.tell(LeaseExpired())
    keys = {key for _, _, _, key in play.calls}
    assert keys == {f"{play.operation.id}:purchase:do"}


def test_makegood_attempt_counts_the_sendings_of_a_key_also_after_an_operators_retry() -> None:
    play = Play(saga_of(step("purchase", attempts=5)))
    play.run(unknown(), unavailable())
    play.tell(RetryRequested())
    assert play.operation.failure_count == 0
    play.run(unavailable())
    assert [attempt for _, _, attempt, _ in play.calls] == [1, 2, 3]


def test_a_call_that_is_out_makes_its_step_unknown_until_the_answer_comes() -> None:
    """Trap 1: a worker dies between the call and its record; the row must say that a call may have been made."""
    play = Play(ONE)
    play.send()
    assert play.state("purchase") is StepStatus.UNKNOWN
    play.tell(unavailable())
    assert play.state("purchase") is StepStatus.TODO


def test_a_rejection_turns_to_refund_and_the_step_is_not_undone() -> None:
    play = Play(ONE)
    play.run(rejected())
    assert (play.operation.phase, play.operation.reason) == (Phase.REFUND, Reason.REJECTED)
    assert play.state("purchase") is StepStatus.REJECTED
    assert play.send().step == "payment"


def test_calls_that_were_surely_not_carried_out_end_in_failed_and_attempts_exhausted() -> None:
    play = Play(ONE)
    play.run(unavailable(), unreached(), unavailable(429))
    assert (play.operation.reason, play.state("purchase")) == (Reason.ATTEMPTS_EXHAUSTED, StepStatus.FAILED)
    assert play.send().step == "payment", "steps that certainly did nothing are not undone"


def test_maximum_attempts_counts_calls_in_all() -> None:
    play = Play(saga_of(step("purchase", attempts=1)))
    assert play.run(unavailable()).phase is Phase.REFUND


def test_the_wait_grows_is_jittered_and_honours_a_later_retry_after() -> None:
    play = Play(saga_of(step("purchase", attempts=9)))
    play.send()
    play.tell(unavailable(), jitter=1.0)
    assert play.operation.next_run_at == play.now + SECOND
    play.send()
    play.tell(unavailable(), jitter=0.0)
    assert play.operation.next_run_at == play.now + SECOND, "half of two seconds"
    play.send()
    play.tell(unavailable(retry_at=play.now + 10 * MINUTE))
    assert play.operation.next_run_at == play.now + 10 * MINUTE, "also beyond maximum_interval"


def test_a_retry_after_beyond_the_deadline_does_not_hold_the_deadline_up() -> None:
    """Rule: a deadline stops forward sendings at once, whatever Retry-After said."""
    play = Play(ONE)
    play.send()
    play.tell(unavailable(retry_at=play.now + 3 * HOUR))
    assert play.operation.next_run_at == play.operation.deadline
    play.claim()
    assert play.begin() is None
    assert (play.operation.reason, play.state("purchase")) == (Reason.DEADLINE_PASSED, StepStatus.FAILED)


@pytest.mark.parametrize("signal", [unavailable(), unknown(), done(), rejected()])
def test_what_a_call_brings_after_the_deadline_is_undone_or_given_up(signal: Signal) -> None:
    """Rule: a call that is out is awaited; what it brings is undone, also the last step's."""
    play = Play(ONE)
    play.send()
    play.wait(2 * HOUR)
    assert play.decide(DeadlinePassed()) is None, "a call that is out is awaited"
    play.tell(signal)
    assert play.operation.phase is Phase.REFUND
    reason = Reason.REJECTED if signal == rejected() else Reason.DEADLINE_PASSED
    assert play.operation.reason is reason


@pytest.mark.parametrize("signal", [done(), unavailable(), unknown(), rejected(), LeaseExpired(), Deferred(NOON)])
def test_a_cancel_during_a_call_waits_for_its_answer_and_turns_then(signal: Signal) -> None:
    """Trap 25: the operator cancels at the instant the purchase comes back; neither may swallow the other."""
    play = Play(ONE)
    if isinstance(signal, Deferred):
        play.claim()
    else:
        play.send()
    play.tell(CancelRequested())
    assert play.status == (Phase.PURCHASE, Status.PROCESSING)
    play.tell(signal)
    assert (play.operation.phase, play.operation.reason) == (Phase.REFUND, Reason.CANCELLED)
    expected = {
        done(): StepStatus.DONE,
        unavailable(): StepStatus.FAILED,
        unknown(): StepStatus.UNKNOWN,
        rejected(): StepStatus.REJECTED,
        LeaseExpired(): StepStatus.UNKNOWN,
        Deferred(NOON): StepStatus.TODO,
    }
    assert play.state("purchase") is expected[signal]


def test_a_cancel_that_comes_between_claim_and_call_keeps_the_call_back() -> None:
    play = Play(ONE)
    play.claim()
    play.tell(CancelRequested())
    assert play.begin() is None
    assert play.operation.reason is Reason.CANCELLED
    assert play.send().step == "payment"


def test_the_deadline_turns_an_operation_that_waits() -> None:
    play = Play(TWO)
    play.run(done(), unavailable())
    assert play.decide(DeadlinePassed()) is None, "not yet"
    play.wait(HOUR)
    play.tell(DeadlinePassed())
    assert play.operation.reason is Reason.DEADLINE_PASSED
    assert play.send().step == "flight"


def test_in_refund_no_forward_call_is_ever_made_again() -> None:
    """Trap 20: a stale worker sends a step forward while another undoes."""
    play = Play(TWO)
    play.run(done(), unknown())
    play.tell(CancelRequested())
    play.run(done(), done(), done())
    assert play.status == (Phase.REFUND, Status.REFUNDED)
    turned = [action for _, action, _, _ in play.calls].index(Action.UNDO)
    assert {action for _, action, _, _ in play.calls[turned:]} == {Action.UNDO}


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


def test_what_was_deferred_counts_as_no_attempt() -> None:
    """Trap 29: an outage burns the budget of every operation; while the breaker is open nothing is counted."""
    play = Play(ONE)
    for _ in range(50):
        play.claim()
        play.tell(Deferred(play.now + SECOND))
    assert (play.operation.status, play.operation.failure_count) == (Status.PENDING, 0)
    play.run(unavailable())
    play.claim()
    play.tell(Deferred(play.now + SECOND))
    assert (play.operation.status, play.operation.failure_count) == (Status.ERROR, 1)


def test_what_is_deferred_beyond_the_deadline_turns_at_the_deadline() -> None:
    play = Play(ONE)
    play.claim()
    play.tell(Deferred(play.now + 5 * HOUR))
    assert play.operation.next_run_at == play.operation.deadline
    play.claim()
    play.tell(Deferred(play.now + SECOND))
    assert play.operation.reason is Reason.DEADLINE_PASSED


def test_a_deferral_into_the_past_runs_now() -> None:
    play = Play(ONE)
    play.claim()
    play.tell(Deferred(play.now - MINUTE))
    assert play.operation.next_run_at == play.now


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


class TestKeyLifetime:
    """While it lasts an unknown call is sent again with its key; after it, never."""

    LONG = saga_of(step("purchase", attempts=99), deadline=90 * HOUR)
    LONG_WITH_LOOKUP = saga_of(step("purchase", attempts=99, lookup=True), deadline=90 * HOUR)

    def test_the_repetition_must_be_able_to_end_within_it(self) -> None:
        """Trap 4: an attempt on Monday, the operator's retry on Thursday with a key that the supplier has forgotten."""
        play = Play(self.LONG)
        play.run(unknown())
        play.now = NOON + 24 * HOUR - 10 * SECOND
        play.claim()
        assert play.begin() is not None, "it can just end in time"
        play = Play(self.LONG)
        play.run(unknown())
        play.now = NOON + 24 * HOUR - 9 * SECOND
        play.claim()
        assert play.begin() is None
        assert (play.operation.reason, play.state("purchase")) == (Reason.ATTEMPTS_EXHAUSTED, StepStatus.UNKNOWN)

    def test_it_ends_in_the_lookup_where_there_is_one(self) -> None:
        play = Play(self.LONG_WITH_LOOKUP)
        play.run(unknown())
        play.wait(25 * HOUR)
        play.claim()
        assert play.begin() is None
        assert play.send().action is Action.LOOKUP

    def test_it_counts_from_the_first_sending_that_may_have_arrived(self) -> None:
        play = Play(self.LONG)
        play.run(unreached())
        play.wait(23 * HOUR)
        play.run(unknown())
        play.wait(2 * HOUR)
        play.run(done())
        assert play.operation.status is Status.SUCCEEDED

    def test_an_unreached_agent_later_does_not_begin_it_anew(self) -> None:
        play = Play(self.LONG)
        play.run(unknown(), unreached())
        play.wait(24 * HOUR)
        play.claim()
        assert play.begin() is None

    def test_a_crash_before_a_sending_does_not_begin_it_anew(self) -> None:
        play = Play(self.LONG)
        play.run(unknown())
        play.claim()
        play.tell(LeaseExpired())
        play.wait(24 * HOUR)
        play.claim()
        assert play.begin() is None

    def test_a_call_that_a_409_said_was_running_is_not_repeated_after_it(self) -> None:
        """Trap 4: the call that ran was carried out; by the next repetition its key is forgotten, and it is bought twice."""
        play = Play(self.LONG)
        play.run(unavailable(409))
        play.wait(24 * HOUR)
        play.claim()
        assert play.begin() is None
        assert play.state("purchase") is StepStatus.UNKNOWN

    def test_what_was_surely_not_carried_out_is_repeated_after_it(self) -> None:
        play = Play(self.LONG)
        play.run(unavailable())
        play.wait(48 * HOUR)
        play.run(done())
        assert play.operation.status is Status.SUCCEEDED


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
