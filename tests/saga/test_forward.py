"""Step by step forward, and what turns an operation to refund."""

import pytest

from app.saga.model import Action, Phase, Reason, Status, StepStatus
from app.saga.signals import CancelRequested, DeadlinePassed, Deferred, LeaseExpired, RetryRequested, Signal
from tests.saga.stage import (
    HOUR,
    MINUTE,
    NOON,
    SECOND,
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
