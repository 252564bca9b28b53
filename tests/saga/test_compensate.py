"""The refund phase: undos last first, each settled before the next, and what leaves an operation to a human."""

from dataclasses import replace
from datetime import timedelta

import pytest

from app.saga.model import Action, HeldReason, Phase, Reason, Status, StepStatus
from app.saga.signals import CancelRequested, DeadlinePassed, Deferred, LeaseExpired, RetryRequested, Signal
from tests.saga.stage import (
    DAY,
    HOUR,
    IN_FLIGHT,
    LIMITS,
    MINUTE,
    SECOND,
    Play,
    done,
    rejected,
    saga_of,
    step,
    unavailable,
    unknown,
)

THREE = saga_of(step("flight"), step("hotel"), step("car"))


def refunding(play: Play, *answers: Signal) -> Play:
    """The play after these answers and a cancel."""
    play.run(*answers)
    play.tell(CancelRequested(undo_succeeded=True))
    return play


def test_undos_run_last_first_and_money_goes_back_at_the_very_end() -> None:
    """Traps: the undo of A while the undo of B, which stands on it, is open; the refund while a purchase lives."""
    play = Play(THREE)
    play.run(done(), done(), rejected(), done(), done(), done())
    assert play.status == (Phase.REFUND, Status.REFUNDED)
    assert [name for name, action, _, _ in play.calls if action is Action.UNDO] == ["hotel", "flight", "payment"]
    assert [state.status for state in play.operation.steps] == [
        StepStatus.UNDONE,
        StepStatus.UNDONE,
        StepStatus.UNDONE,
        StepStatus.REJECTED,
    ]
    assert play.operation.reason is Reason.REJECTED


def test_each_undo_is_settled_before_the_next_begins() -> None:
    play = refunding(Play(THREE), done(), done())
    play.run(unavailable(), unknown())
    assert [name for name, action, _, _ in play.calls if action is Action.UNDO] == ["hotel", "hotel"]
    play.run(done())
    assert play.send().step == "flight"


def test_the_undo_of_an_unknown_step_waits_until_its_last_sending_can_take_effect_no_more() -> None:
    """Trap 11: the undo overtakes a slow purchase, finds nothing, and the purchase lands behind it."""
    play = Play(THREE)
    play.run(done(), unknown())
    sent = play.now
    play.wait(20 * SECOND)
    play.tell(CancelRequested())
    assert (play.operation.status, play.operation.next_run_at) == (Status.ERROR, sent + IN_FLIGHT)
    sending = play.send()
    assert (sending.step, sending.action, sending.key) == ("hotel", Action.UNDO, f"{play.operation.id}:hotel:undo")
    assert play.now == sent + IN_FLIGHT


def test_the_wait_counts_from_the_last_sending_whatever_it_brought() -> None:
    play = Play(THREE)
    play.run(done(), unknown())
    play.wait(40 * SECOND)
    play.run(rejected())
    assert play.operation.next_run_at == play.now + IN_FLIGHT


def test_the_undo_of_a_done_step_does_not_wait() -> None:
    play = refunding(Play(THREE), unknown(), done())
    assert (play.operation.status, play.operation.next_run_at) == (Status.PENDING, play.now)


def test_a_longer_in_flight_in_the_configuration_is_waited_for_by_an_undo_that_is_claimed() -> None:
    play = refunding(Play(THREE), done(), unknown())
    play.claim()
    longer = replace(LIMITS, in_flight=10 * MINUTE)
    play.saga = replace(play.saga, limits=dict.fromkeys(play.saga.limits, longer))
    assert play.begin() is None
    last_sent = play.operation.state_of("hotel").do.last_at
    assert last_sent is not None
    assert (play.operation.status, play.operation.next_run_at) == (Status.ERROR, last_sent + 10 * MINUTE)


@pytest.mark.parametrize("status", [404, 410])
def test_nothing_there_settles_the_undo_of_an_unknown_step(status: int) -> None:
    play = refunding(Play(THREE), done(), unknown())
    play.run(rejected(status))
    assert play.state("hotel") is StepStatus.UNDONE
    assert play.send().step == "flight"


@pytest.mark.parametrize("status", [404, 410])
def test_nothing_there_after_an_unknown_undo_settles_a_done_step(status: int) -> None:
    play = refunding(Play(THREE), done(), done())
    play.run(unknown(), rejected(status))
    assert play.state("hotel") is StepStatus.UNDONE


@pytest.mark.parametrize("status", [404, 410, 422])
def test_an_undo_of_a_done_step_that_is_rejected_leaves_the_operation_held(status: int) -> None:
    """Trap 15: a refused undo is swallowed, and the money goes back beside a live booking."""
    play = refunding(Play(THREE), done(), done())
    play.run(rejected(status))
    assert (play.operation.status, play.operation.held_reason) == (Status.HELD, HeldReason.UNDO_REJECTED)
    assert [state.status for state in play.operation.steps[:3]] == [
        StepStatus.DONE,
        StepStatus.DONE,
        StepStatus.UNDO_FAILED,
    ], "what comes before it is not undone"


def test_an_undo_of_an_unknown_step_that_is_rejected_otherwise_is_held() -> None:
    play = refunding(Play(THREE), done(), unknown())
    play.run(rejected(422))
    assert play.operation.held_reason is HeldReason.UNDO_REJECTED


def test_a_refund_that_says_not_found_is_held() -> None:
    """Trap: a 404 to the refund of a payment counted as "nothing there", and the money was never given back."""
    play = refunding(Play(THREE))
    play.run(rejected(404))
    assert (play.operation.held_reason, play.state("payment")) == (HeldReason.UNDO_REJECTED, StepStatus.UNDO_FAILED)


def test_an_undo_that_cannot_be_made_from_its_document_is_held_without_a_sending() -> None:
    play = refunding(Play(THREE), done())
    play.claim()
    play.tell(rejected(400))
    assert (play.operation.held_reason, play.state("flight")) == (HeldReason.UNDO_REJECTED, StepStatus.UNDO_FAILED)


def test_an_undo_out_of_attempts_is_held() -> None:
    play = refunding(Play(THREE), done(), done())
    play.run(unavailable(), unknown(), unavailable(409))
    assert (play.operation.held_reason, play.state("hotel")) == (HeldReason.UNDO_EXHAUSTED, StepStatus.UNDO_FAILED)
    assert play.operation.failure_count == 3


def test_an_undo_whose_worker_dies_again_and_again_is_held() -> None:
    """Trap 28: what kills its process is claimed for ever, while other rows starve."""
    play = refunding(Play(THREE), done())
    for _ in range(3):
        play.send()
        play.tell(LeaseExpired())
    assert play.operation.held_reason is HeldReason.UNDO_EXHAUSTED


def test_an_unknown_undo_is_not_repeated_past_its_keys_lifetime() -> None:
    """Trap 4: a refund repeated with a key that the provider has forgotten is a second refund."""
    saga = saga_of(step("flight", undo_attempts=99))
    play = refunding(Play(saga), done())
    play.run(unknown())
    play.wait(DAY)
    play.claim()
    assert play.begin() is None
    assert (play.operation.held_reason, play.state("flight")) == (HeldReason.UNDO_EXHAUSTED, StepStatus.UNDO_FAILED)


def test_an_undo_that_was_surely_not_carried_out_is_repeated_past_it() -> None:
    play = refunding(Play(saga_of(step("flight", undo_attempts=99))), done())
    play.run(unavailable())
    play.wait(2 * DAY)
    assert play.run(done()).step == "payment"


def test_the_undo_deadline_leaves_it_held() -> None:
    saga = saga_of(step("flight", undo_attempts=99), undo_deadline=HOUR)
    play = refunding(Play(saga), done())
    assert play.operation.deadline == play.now + HOUR, "counted from the turn"
    play.run(unavailable(retry_at=play.now + 5 * HOUR))
    assert play.operation.next_run_at == play.operation.deadline
    play.claim()
    assert play.begin() is None
    assert (play.operation.held_reason, play.state("flight")) == (HeldReason.UNDO_EXHAUSTED, StepStatus.UNDO_FAILED)


def test_the_undo_deadline_awaits_a_call_that_is_out() -> None:
    play = refunding(Play(saga_of(step("flight"), undo_deadline=HOUR)), done())
    play.send()
    play.wait(2 * HOUR)
    assert play.decide(DeadlinePassed()) is None
    play.tell(unavailable())
    assert play.operation.held_reason is HeldReason.UNDO_EXHAUSTED


def test_the_undo_deadline_may_pass_before_the_first_undo_was_sent() -> None:
    play = refunding(Play(saga_of(step("flight"), undo_deadline=30 * SECOND)), unknown())
    assert play.operation.next_run_at == play.operation.deadline
    play.now = play.operation.deadline
    play.tell(DeadlinePassed())
    assert play.operation.held_reason is HeldReason.UNDO_EXHAUSTED
    assert play.state("flight") is StepStatus.UNKNOWN, "no undo was tried"


def test_a_refund_whose_last_undo_came_in_time_is_refunded_after_the_deadline() -> None:
    play = refunding(Play(saga_of(undo_deadline=HOUR)))
    play.send()
    play.wait(2 * HOUR)
    assert play.tell(done()).status is Status.REFUNDED


@pytest.mark.parametrize("answers", [(done(), done()), (done(), unknown())])
def test_a_done_or_unknown_step_without_an_undo_is_held(answers: tuple[Signal, ...]) -> None:
    play = refunding(Play(saga_of(step("flight"), step("hotel", undo=False), step("car"))), *answers)
    assert (play.operation.status, play.operation.held_reason) == (Status.HELD, HeldReason.CANNOT_UNDO)
    assert play.operation.step == "hotel"
    assert play.state("flight") is StepStatus.DONE


def test_a_step_without_an_undo_that_did_nothing_is_passed() -> None:
    play = Play(saga_of(step("flight"), step("hotel", undo=False)))
    play.run(done(), rejected(), done(), done())
    assert play.operation.status is Status.REFUNDED


@pytest.mark.parametrize(("answer", "kept"), [(done(), StepStatus.DONE), (unknown(), StepStatus.UNKNOWN)])
def test_a_step_that_need_not_be_undone_is_passed_over_and_keeps_its_status(answer: Signal, kept: StepStatus) -> None:
    play = refunding(
        Play(saga_of(step("flight"), step("mail", undo=False, undo_needed=False), step("car"))), done(), answer
    )
    play.run(done(), done())
    assert play.operation.status is Status.REFUNDED
    assert play.state("mail") is kept
    assert [name for name, action, _, _ in play.calls if action is Action.UNDO] == ["flight", "payment"]


def test_the_undo_has_one_key_for_ever_and_counts_its_own_sendings() -> None:
    play = refunding(Play(THREE), done())
    play.run(unavailable(), unavailable(), unknown())
    play.tell(RetryRequested())
    play.run(done())
    undos = [(attempt, key) for name, action, attempt, key in play.calls if (name, action) == ("flight", Action.UNDO)]
    assert undos == [(attempt, f"{play.operation.id}:flight:undo") for attempt in (1, 2, 3, 4)]


def test_a_deferred_undo_is_not_counted_and_not_put_off_past_the_deadline() -> None:
    play = refunding(Play(saga_of(step("flight"), undo_deadline=HOUR)), done())
    play.claim()
    play.tell(Deferred(play.now + 5 * HOUR))
    assert (play.operation.status, play.operation.failure_count) == (Status.PENDING, 0)
    assert play.operation.next_run_at == play.operation.deadline


def test_a_cancel_in_the_refund_phase_changes_nothing() -> None:
    play = refunding(Play(THREE), done(), unknown())
    assert play.decide(CancelRequested()) is None
    play.send()
    assert play.decide(CancelRequested()) is None


def test_local_undos_are_never_unknown() -> None:
    play = refunding(Play(saga_of(step("reserve", local=True))), done())
    play.send()
    play.tell(LeaseExpired())
    assert play.operation.state_of("reserve").undo.unknown == 0
    play.wait(timedelta(days=2))
    assert play.run(done()).step == "payment"
