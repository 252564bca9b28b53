"""What operators may ask for in each status, and their retry and cancel."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from app.errors import NotAllowed
from app.saga import allowed_actions
from app.saga.model import Action, HeldReason, Phase, Reason, Status, StepStatus
from app.saga.signals import CancelRequested, Resolved, RetryRequested, Signal, StepResolved
from tests.saga.stage import (
    DAY,
    HOUR,
    IN_FLIGHT,
    SECOND,
    Play,
    done,
    rejected,
    saga_of,
    step,
    unavailable,
    unclear,
    unknown,
)
from tests.saga.statuses import (
    EVERY,
    TWO,
    failing,
    held,
    pending,
    processing,
    refunding,
    succeeded,
)

ALLOWED = {
    "retry": {"failing", "waiting", "refunding", "held"},
    "cancel": {"pending", "processing", "failing", "waiting", "refunding", "succeeded"},
    "resolve": {"failing", "waiting", "refunding", "held"},
}
SIGNALS: dict[str, tuple[Signal, ...]] = {
    "retry": (RetryRequested(),),
    "cancel": (CancelRequested(undo_succeeded=True),),
    "resolve": (
        Resolved(Status.SUCCEEDED),
        Resolved(Status.REFUNDED),
        StepResolved("hotel", done=True),
        StepResolved("hotel", done=False),
    ),
}


def test_nothing_is_allowed_with_what_retention_has_emptied() -> None:
    play = Play(TWO)
    play.run(done(), done())
    play.operation = replace(play.operation, steps=())
    assert allowed_actions(play.operation) == ()
    with pytest.raises(NotAllowed):
        play.decide(CancelRequested(undo_succeeded=True))


@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
@pytest.mark.parametrize("action", ALLOWED)
def test_each_action_is_allowed_in_its_statuses_and_in_no_other(action: str, make: Callable[[], Play]) -> None:
    for signal in SIGNALS[action]:
        play = make()
        allowed = make.__name__ in ALLOWED[action]
        assert (action in allowed_actions(play.operation)) is allowed
        if allowed:
            play.decide(signal)
        else:
            with pytest.raises(NotAllowed, match="allowed now"):
                play.decide(signal)


class TestRetry:
    def test_it_runs_again_now_with_its_failures_forgotten_and_the_same_key(self) -> None:
        play = Play(TWO)
        play.run(unknown(), unavailable(retry_at=play.now + HOUR))
        play.tell(RetryRequested())
        assert (play.operation.status, play.operation.next_run_at) == (Status.PENDING, play.now)
        assert play.operation.failure_count == 0
        play.run(done())
        assert {key for _, _, _, key in play.calls} == {f"{play.operation.id}:flight:do"}

    def test_it_waits_for_in_flight_like_everyone(self) -> None:
        """Trap: an impatient operator sends the undo ahead of a slow purchase."""
        play = Play(TWO)
        play.run(unknown())
        sent = play.now
        play.tell(CancelRequested())
        play.wait(5 * SECOND)
        play.tell(RetryRequested())
        assert (play.operation.status, play.operation.next_run_at) == (Status.ERROR, sent + IN_FLIGHT)
        assert play.operation.failure_count == 0

    def test_it_waits_for_in_flight_before_a_lookup_too(self) -> None:
        play = Play(saga_of(step("flight", attempts=1, lookup=True)))
        play.run(unknown())
        sent = play.now
        play.tell(RetryRequested())
        assert (play.operation.status, play.operation.next_run_at) == (Status.ERROR, sent + IN_FLIGHT)
        play.send()
        play.tell(unclear())
        assert play.operation.phase is Phase.REFUND

    def test_a_lookup_that_failed_is_asked_again_now(self) -> None:
        play = Play(saga_of(step("flight", attempts=2, lookup=True)))
        play.run(unknown(), unknown(), unclear())
        play.tell(RetryRequested())
        assert (play.operation.status, play.operation.next_run_at) == (Status.PENDING, play.now)
        assert play.send().action is Action.LOOKUP

    def test_past_the_keys_lifetime_an_unknown_do_is_not_repeated(self) -> None:
        """Trap 4: the supplier has forgotten the key by Thursday, and the operator's button buys a second time."""
        play = Play(TWO)
        play.run(unknown())
        play.wait(DAY)
        with pytest.raises(NotAllowed, match="key has expired"):
            play.decide(RetryRequested())

    def test_past_the_keys_lifetime_an_unknown_do_goes_to_its_lookup(self) -> None:
        play = Play(saga_of(step("flight", attempts=99, lookup=True), deadline=10 * DAY))
        play.run(unknown())
        play.wait(DAY)
        play.tell(RetryRequested())
        assert play.send().action is Action.LOOKUP

    def test_past_the_keys_lifetime_an_unknown_undo_is_not_repeated(self) -> None:
        play = held()
        play.tell(RetryRequested())
        play.run(unknown())
        play.wait(DAY)
        for status in (Status.ERROR, Status.HELD):
            if status is Status.HELD:
                play.idle()
            assert play.operation.status is status
            with pytest.raises(NotAllowed, match="key has expired"):
                play.decide(RetryRequested())

    def test_what_was_held_takes_the_undo_up_again(self) -> None:
        play = held()
        assert play.operation.held_reason is HeldReason.UNDO_REJECTED
        play.tell(RetryRequested())
        assert (play.operation.status, play.operation.failure_count) == (Status.PENDING, 0)
        play.run(done(), done())
        assert play.operation.status is Status.REFUNDED

    def test_what_cannot_be_undone_is_held_again(self) -> None:
        play = Play(saga_of(step("flight", undo=False)))
        play.run(done())
        play.tell(CancelRequested(undo_succeeded=True))
        play.tell(RetryRequested())
        assert play.operation.held_reason is HeldReason.CANNOT_UNDO

    def test_past_the_undo_deadline_it_counts_anew(self) -> None:
        play = refunding()
        play.now = play.operation.deadline
        play.idle()
        assert play.operation.held_reason is HeldReason.UNDO_EXHAUSTED
        play.tell(RetryRequested())
        assert play.operation.deadline == play.now + TWO.undo_deadline
        assert play.send().action is Action.UNDO

    def test_before_the_undo_deadline_it_stays(self) -> None:
        play = refunding()
        deadline = play.operation.deadline
        play.tell(RetryRequested())
        assert play.operation.deadline == deadline

    def test_past_the_deadline_a_purchase_turns_to_refund_all_the_same(self) -> None:
        play = failing()
        play.now = play.operation.deadline
        play.tell(RetryRequested())
        play.claim()
        assert play.begin() is None
        assert play.operation.reason is Reason.DEADLINE_PASSED


class TestCancel:
    def test_before_the_first_call_money_goes_straight_back(self) -> None:
        play = pending()
        play.tell(CancelRequested())
        assert (play.operation.phase, play.operation.reason) == (Phase.REFUND, Reason.CANCELLED)
        assert play.operation.cancel_requested_at == play.now
        assert play.send().step == "payment"

    def test_a_second_one_changes_nothing(self) -> None:
        play = processing()
        play.tell(CancelRequested())
        assert play.decide(CancelRequested()) is None

    def test_a_success_is_undone_on_demand_alone(self) -> None:
        """Rule: a cancel that comes after the success is refused, unless it says that it means it."""
        play = succeeded()
        with pytest.raises(NotAllowed, match="undo_succeeded"):
            play.decide(CancelRequested())
        play.tell(CancelRequested(undo_succeeded=True))
        assert play.operation.finished_at is None
        play.run(done(), done(), done())
        assert (play.operation.status, play.operation.reason) == (Status.REFUNDED, Reason.CANCELLED)

    def test_a_success_that_a_human_settled_is_undone_with_what_is_unknown(self) -> None:
        play = Play(TWO)
        play.run(done(), unknown())
        sent = play.now
        play.tell(Resolved(Status.SUCCEEDED))
        play.tell(CancelRequested(undo_succeeded=True))
        assert (play.state("hotel"), play.operation.next_run_at) == (StepStatus.UNKNOWN, sent + IN_FLIGHT)
        play.run(rejected(404), done(), done())
        assert play.operation.status is Status.REFUNDED
