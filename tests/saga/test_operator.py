"""What operators may ask for in each status: retry, cancel, resolve of an operation and of a step."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from app.errors import InvalidRequest, NotAllowed
from app.saga import allowed_actions
from app.saga.model import Action, HeldReason, Phase, Reason, Status, StepStatus
from app.saga.signals import CancelRequested, LateAnswer, Resolved, RetryRequested, Signal, StepResolved
from tests.saga.stage import (
    DAY,
    HOUR,
    IN_FLIGHT,
    SECOND,
    Play,
    absent,
    done,
    rejected,
    saga_of,
    step,
    unavailable,
    unclear,
    unknown,
)

TWO = saga_of(step("flight", attempts=99), step("hotel", attempts=99, undo_attempts=99), deadline=10 * DAY)


def pending() -> Play:
    return Play(TWO)


def processing() -> Play:
    play = Play(TWO)
    play.send()
    return play


def failing() -> Play:
    play = Play(TWO)
    play.run(done(), unavailable())
    return play


def waiting() -> Play:
    play = failing()
    return Play(TWO, replace(play.operation, status=Status.WAITING))


def succeeded() -> Play:
    play = Play(TWO)
    play.run(done(), done())
    return play


def refunding() -> Play:
    play = failing()
    play.tell(CancelRequested())
    play.run(unavailable())
    return play


def refunded() -> Play:
    play = Play(TWO)
    play.run(rejected(), done())
    return play


def held() -> Play:
    play = failing()
    play.tell(CancelRequested())
    play.run(rejected())
    return play


EVERY = {make.__name__: make for make in (pending, processing, failing, waiting, succeeded, refunding, refunded, held)}
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


def held_at_hotel() -> Play:
    play = Play(TWO)
    play.run(done(), done())
    play.tell(CancelRequested(undo_succeeded=True))
    play.run(rejected())
    assert (play.operation.step, play.operation.held_reason) == ("hotel", HeldReason.UNDO_REJECTED)
    return play


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
