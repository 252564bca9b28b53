"""What others give back, as the provider tells of it: before the purchase is made it stops it, afterwards it is shown."""

from dataclasses import replace

import pytest

from app.saga.model import Action, Phase, Reason, Status
from app.saga.refund_facts import KnownRefund, RefundStanding
from app.saga.signals import RefundHeard, Signal
from tests.saga.refund_steps import D, F, P, S, asked, cancelled, listed, refund
from tests.saga.stage import Play, done, rejected, saga_of, step, unknown


@pytest.mark.parametrize("standing", [S, D])
def test_it_turns_an_operation_that_is_ready(standing: RefundStanding) -> None:
    play = Play(saga_of(step("flight")))
    play.tell(RefundHeard((refund(standing),)))
    assert (play.status, play.operation.reason) == ((Phase.REFUND, Status.REFUNDED), Reason.REFUNDED_ELSEWHERE)
    assert play.calls == []


@pytest.mark.parametrize("told", [refund(P), refund(F), refund(S, 1998), replace(refund(S), currency="USD")])
def test_what_is_less_than_all_for_certain_lets_it_go_on(told: KnownRefund) -> None:
    play = Play(saga_of(step("flight")))
    assert play.decide(RefundHeard((told,))) is None


def test_parts_that_make_the_whole_turn_it() -> None:
    play = Play(saga_of(step("flight")))
    play.tell(RefundHeard((refund(S, 1000, id="a"), refund(S, 999, id="b"))))
    assert play.operation.reason is Reason.REFUNDED_ELSEWHERE


@pytest.mark.parametrize(("answer", "undone"), [(done(), True), (unknown(), True), (rejected(), False)])
def test_a_call_that_is_out_is_awaited_and_what_it_brings_undone(answer: Signal, undone: bool) -> None:
    play = Play(saga_of(step("flight")))
    play.send()
    assert play.tell(RefundHeard((refund(S),))).status is Status.PROCESSING
    assert play.decide(RefundHeard((refund(S),))) is None, "told again, it is no news"
    play.tell(answer)
    assert (play.operation.phase, play.operation.reason) == (Phase.REFUND, Reason.REFUNDED_ELSEWHERE)
    if undone:
        play.run(done())
    assert play.operation.status is Status.REFUNDED
    assert "psp" not in [name for name, *_ in play.calls]


def test_a_claim_that_has_sent_nothing_yet_turns() -> None:
    play = Play(saga_of(step("flight")))
    play.claim()
    play.tell(RefundHeard((refund(S),)))
    assert play.begin() is None
    assert play.operation.status is Status.REFUNDED


def test_after_the_purchase_nothing_changes() -> None:
    play = Play(saga_of(step("flight")))
    play.run(done())
    assert play.decide(RefundHeard((refund(S),))) is None


def test_a_declared_refund_is_not_sent_where_others_have_given_all_back() -> None:
    play = Play(saga_of(step("flight")))
    play.run(rejected())
    assert play.operation.step == "payment"
    play.tell(RefundHeard((refund(S),)))
    assert play.operation.status is Status.REFUNDED
    assert len(play.calls) == 1


def test_news_between_the_list_and_the_wish_ask_for_the_list_again() -> None:
    play = asked(cancelled(), listed())
    play.tell(RefundHeard((refund(S),)))
    assert (play.operation.status, play.operation.action) == (Status.PROCESSING, Action.LOOKUP)
