"""The refund protocol step by step: what goes out under which key, what is awaited, and what others have done."""

from dataclasses import replace
from uuid import NAMESPACE_URL, uuid5

import pytest

from app.errors import IllegalSignal
from app.saga.definition import Limits, RefundCall, from_json, to_json
from app.saga.model import Action, HeldReason, Phase, Status, StepStatus
from app.saga.refund_facts import KnownRefund, fold, may_still_refund, refund_key
from app.saga.signals import (
    Deferred,
    LateAnswer,
    RefundHeard,
    RefundsListed,
    Resolved,
    RetryRequested,
    StepResolved,
)
from app.saga.why import why
from tests.saga.refund_books import ASK_AGAIN
from tests.saga.refund_steps import KEY, SECOND_KEY, D, F, P, S, asked, cancelled, listed, made, refund
from tests.saga.refund_worlds import refund_saga
from tests.saga.stage import DAY, HOUR, LIMITS, SECOND, Play, done, rejected, saga_of, step, unclear, unknown


def test_the_key_is_the_same_for_all_who_have_the_payment_and_another_after_a_failure() -> None:
    assert str(uuid5(NAMESPACE_URL, 'makegood:["psp","pay_1","payment","undo"]')) == KEY
    assert str(uuid5(NAMESPACE_URL, 'makegood:["psp","pay_1","payment","undo",2]')) == SECOND_KEY
    assert len({KEY, SECOND_KEY, refund_key("psp", "pay_2", "payment", 1), refund_key("psp", "pay_1", "money", 1)}) == 4


def test_a_refund_protocol_is_part_of_the_definition() -> None:
    saga = refund_saga(LIMITS)
    assert from_json(to_json(saga)).steps == saga.steps
    assert saga.limits_of(RefundCall("psp", "stripe")) == LIMITS


def test_the_list_is_asked_first_and_the_wish_goes_out_under_the_same_claim() -> None:
    play = cancelled()
    looked = play.send()
    assert (looked.action, looked.key) == (Action.LOOKUP, None)
    lease, holder = play.operation.lease, play.operation.locked_by
    after = play.tell(listed())
    assert (after.status, after.locked_by, after.lease) == (Status.PROCESSING, holder, lease + 1)
    wished = play.begin()
    assert wished is not None
    assert (wished.action, wished.key, wished.attempt) == (Action.UNDO, KEY, 1)
    assert wished.operation.steps[0].refund.amount == 1999
    assert play.tell(made(S)).status is Status.REFUNDED


@pytest.mark.parametrize(
    ("given", "paid", "amount"),
    [
        ((), None, 1999),
        ((refund(S, 1),), None, 1998),
        ((refund(P, 1),), None, 1998),
        ((refund(D, 1),), None, 1998),
        ((refund(F, 1),), None, 1999),
        ((refund(S, 1998),), None, 1),
        ((refund(S, 1, id="a"), refund(S, 1, id="b")), None, 1997),
        ((refund(P, 1), refund(S, 1)), None, 1998),
        ((), 1500, 1500),
        ((), 5000, 1999),
        ((refund(S, 1000),), 2500, 1500),
        ((refund(S, 100),), 5000, 1999),
    ],
)
def test_no_more_is_given_than_is_left_and_no_more_than_the_operation_has(
    given: tuple[KnownRefund, ...], paid: int | None, amount: int
) -> None:
    play = asked(cancelled(), listed(*given, paid=paid))
    wished = play.begin()
    assert wished is not None
    assert wished.operation.steps[0].refund.amount == amount


@pytest.mark.parametrize(("given", "paid"), [((refund(S),), None), ((refund(S, 2500),), None), ((), 0)])
def test_where_nothing_is_left_nothing_is_sent(given: tuple[KnownRefund, ...], paid: int | None) -> None:
    play = asked(cancelled(), listed(*given, paid=paid))
    assert play.operation.status is Status.REFUNDED
    assert [action for _, action, _, _ in play.calls] == [Action.LOOKUP]


def test_a_part_in_another_currency_cannot_be_counted_and_nothing_is_sent() -> None:
    play = asked(cancelled(), listed(replace(refund(S, 1), currency="USD")))
    assert (play.operation.status, play.operation.action) == (Status.ERROR, Action.LOOKUP)
    assert "another currency" in str(play.operation.last_error)


def test_a_pending_refund_is_awaited_at_most_six_hours_at_a_time() -> None:
    play = asked(cancelled(), listed(), made(P))
    assert play.status == (Phase.REFUND, Status.WAITING)
    assert play.operation.next_run_at == play.now + ASK_AGAIN
    assert not may_still_refund(play.operation)
    assert "psp will confirm later; asked again at" in why(play.saga, play.operation)
    asked(play, RefundsListed((refund(P, key=KEY),), None, True, 30 * DAY))
    assert play.operation.next_run_at == play.now + 6 * HOUR
    assert play.operation.attempt == 0, "asking about it wears nothing out"
    asked(play, listed(refund(S, key=KEY)))
    assert play.status == (Phase.REFUND, Status.REFUNDED)


def test_an_acknowledged_refund_that_no_list_shows_is_awaited_and_never_asked_for_again() -> None:
    quick = Limits(timeout=SECOND, key_lifetime=2 * SECOND, in_flight=SECOND)
    play = asked(cancelled(refund_saga(quick)), listed(complete=False), made(P))
    for _ in range(2):
        play.tell(RetryRequested())
        asked(play, listed(complete=False))
        assert play.status == (Phase.REFUND, Status.WAITING)
        assert play.operation.next_run_at == play.now + ASK_AGAIN
    assert play.operation.steps[0].undo.count == 1
    assert play.tell(RefundHeard((refund(S, key=KEY),))).status is Status.REFUNDED


def test_a_refund_that_is_known_by_its_id_alone_is_ours() -> None:
    play = asked(cancelled(), listed(), made(P))
    asked(play, listed(refund(S)))
    assert play.operation.status is Status.REFUNDED


def test_a_refund_that_waits_beyond_its_deadline_is_held_and_its_success_still_counts() -> None:
    play = asked(cancelled(), listed(), made(P))
    play.wait(8 * DAY)
    play.idle()
    assert play.operation.held_reason is HeldReason.UNDO_EXHAUSTED
    assert play.tell(RefundHeard((refund(S, key=KEY),))).status is Status.REFUNDED


def test_an_unknown_wish_is_repeated_with_its_key_and_amount_while_the_key_lasts() -> None:
    play = asked(cancelled(), listed(), unknown())
    assert may_still_refund(play.operation)
    assert "which asks psp first what is refunded already" in why(play.saga, play.operation)
    asked(play, listed())
    wished = play.begin()
    assert wished is not None
    assert (wished.key, wished.attempt, wished.operation.steps[0].refund.amount) == (KEY, 2, 1999)


def test_an_unknown_wish_whose_amount_would_change_waits_until_it_is_proven_to_have_done_nothing() -> None:
    play = asked(cancelled(), listed(), unknown())
    sent = play.operation.steps[0].undo.last_at
    assert sent is not None
    asked(play, listed(refund(S, 500)))
    assert play.operation.status is Status.ERROR
    assert play.operation.next_run_at == sent + LIMITS.in_flight
    assert play.operation.attempt == 1, "the look that came too early does not count"
    asked(play, listed(refund(S, 500)))
    wished = play.begin()
    assert wished is not None
    assert (wished.key, wished.attempt, wished.operation.steps[0].refund.amount) == (SECOND_KEY, 1, 1499)


def test_a_wish_rests_on_its_list_and_a_repetition_on_the_same_until_a_new_key_rests_on_the_newest() -> None:
    def basis() -> object:
        wished = play.begin()
        assert wished is not None
        return wished.operation.steps[0].refund.basis

    play = asked(cancelled(), replace(listed(), basis=["never sent"]))
    play.tell(Deferred(play.now + SECOND))
    asked(play, replace(listed(), basis=["first"]))
    assert basis() == ["first"], "what was never sent binds nothing"
    play.tell(unknown())
    asked(play, replace(listed(), basis=["second"]))
    assert basis() == ["first"]
    play.tell(made(F))
    play.tell(RetryRequested())
    asked(play, replace(listed(refund(F, key=KEY)), basis=["third"]))
    assert basis() == ["third"]


def test_past_its_lifetime_a_list_that_proves_nothing_leaves_it_to_a_human_who_may_look_again() -> None:
    quick = Limits(timeout=SECOND, key_lifetime=2 * SECOND, in_flight=SECOND)
    play = asked(cancelled(refund_saga(quick, attempts=9)), listed(), unknown())
    play.wait(HOUR)
    asked(play, listed(complete=False))
    assert play.operation.held_reason is HeldReason.UNDO_EXHAUSTED
    assert may_still_refund(play.operation)
    play.tell(RetryRequested())
    asked(play, listed(refund(S, key=KEY), complete=False))
    assert play.operation.status is Status.REFUNDED


def test_a_breaker_that_opens_between_the_list_and_the_wish_leads_back_to_the_list() -> None:
    play = asked(cancelled(), listed())
    play.tell(Deferred(play.now + SECOND))
    assert (play.operation.status, play.operation.action, play.operation.attempt) == (Status.PENDING, Action.LOOKUP, 0)


def test_a_failed_refund_is_held_and_followed_by_one_with_another_key() -> None:
    play = asked(cancelled(), listed(), made(F))
    assert (play.operation.held_reason, play.state("payment")) == (HeldReason.REFUND_FAILED, StepStatus.UNDO_FAILED)
    assert "the refund failed: the refund re_1 has failed" in why(play.saga, play.operation)
    play.tell(RetryRequested())
    asked(play, listed(refund(F, key=KEY)))
    wished = play.begin()
    assert wished is not None
    assert (wished.key, wished.attempt) == (SECOND_KEY, 1)


def test_a_human_who_says_that_a_pending_refund_was_never_made_gets_another_one() -> None:
    play = asked(cancelled(), listed(), made(P))
    play.tell(StepResolved("payment", done=True))
    assert play.operation.status is Status.PENDING
    asked(play, listed())
    wished = play.begin()
    assert wished is not None
    assert wished.key == SECOND_KEY


def test_a_human_who_is_wrong_about_it_costs_nothing() -> None:
    play = asked(cancelled(), listed(), made(P))
    play.tell(StepResolved("payment", done=True))
    asked(play, listed(refund(S, key=KEY)))
    assert play.operation.status is Status.REFUNDED


def test_what_a_human_has_settled_is_not_opened_again_by_a_failure() -> None:
    play = asked(cancelled(), listed(), made(P))
    play.tell(Resolved(Status.REFUNDED))
    assert play.decide(RefundHeard((refund(F, key=KEY),))) is None


def test_a_list_that_never_comes_is_given_up_without_a_wish() -> None:
    play = cancelled()
    asked(play, unclear())
    asked(play, rejected())
    assert play.operation.held_reason is HeldReason.UNDO_REJECTED
    assert [action for _, action, _, _ in play.calls] == [Action.LOOKUP] * 2


def test_an_answer_about_refunds_belongs_to_a_refund_protocol() -> None:
    play = Play(saga_of(step("flight")))
    play.send()
    with pytest.raises(IllegalSignal, match="an answer about refunds for the do of flight"):
        play.decide(listed())
    refunding = cancelled()
    refunding.send()
    refunding.tell(listed())
    refunding.begin()
    with pytest.raises(IllegalSignal):
        refunding.decide(done())


def test_what_is_told_of_one_refund_is_put_together_in_any_order() -> None:
    told = [refund(P, key=KEY), refund(S), refund(F)]
    assert fold(told) == fold(reversed(told)) == (refund(F, key=KEY),)


def test_a_failure_that_is_told_while_the_list_is_read_is_newer_than_the_list() -> None:
    play = asked(cancelled(), listed(), made(P))
    play.send()
    play.tell(RefundHeard((refund(F, key=KEY),)))
    assert play.operation.status is Status.PROCESSING
    play.tell(listed(refund(S, key=KEY)))
    assert play.operation.held_reason is HeldReason.REFUND_FAILED


def test_a_refused_wish_is_over_and_a_retry_has_another_key() -> None:
    play = asked(cancelled(), listed(), rejected(402))
    assert play.operation.held_reason is HeldReason.UNDO_REJECTED
    play.tell(RetryRequested())
    asked(play, listed())
    wished = play.begin()
    assert wished is not None
    assert (wished.key, wished.attempt) == (SECOND_KEY, 1)


def test_a_refusal_says_nothing_of_the_wish_before_it_whose_outcome_nobody_knows() -> None:
    play = asked(cancelled(), listed(), unknown())
    asked(play, listed(), rejected(402))
    play.tell(RetryRequested())
    asked(play, listed())
    wished = play.begin()
    assert wished is not None
    assert wished.key == KEY


def test_a_failure_that_is_told_while_a_wish_is_repeated_is_newer_than_its_answer() -> None:
    """The provider gives the same answer to the same key, however its refund has fared since."""
    play = asked(cancelled(), listed(), unknown())
    asked(play, listed())
    play.begin()
    play.tell(RefundHeard((refund(F, key=KEY),)))
    play.tell(made(S))
    assert play.operation.held_reason is HeldReason.REFUND_FAILED


def test_a_late_refusal_of_a_refund_before_says_nothing_of_the_present_one() -> None:
    play = asked(cancelled(), listed(), made(F))
    play.tell(RetryRequested())
    asked(play, listed(), unknown())
    assert play.decide(LateAnswer("payment", Action.UNDO, rejected(), KEY)) is None
    assert play.tell(LateAnswer("payment", Action.UNDO, rejected(), SECOND_KEY)).steps[0].undo.unknown == 0
