"""The steps of a refund by a provider's protocol: what is listed, answered and told, and a play that takes them."""

from app.saga.definition import Saga
from app.saga.refund_facts import KnownRefund, RefundStanding, refund_key
from app.saga.signals import CancelRequested, RefundAnswered, RefundsListed, Signal
from tests.saga.refund_books import ASK_AGAIN
from tests.saga.refund_worlds import refund_saga
from tests.saga.stage import LIMITS, Play

KEY = refund_key("psp", "pay_1", "payment", 1)
SECOND_KEY = refund_key("psp", "pay_1", "payment", 2)
S, P, F, D = RefundStanding.SUCCEEDED, RefundStanding.PENDING, RefundStanding.FAILED, RefundStanding.DISPUTED


def refund(standing: RefundStanding, amount: int = 1999, key: str | None = None, id: str = "re_1") -> KnownRefund:
    """One refund."""
    return KnownRefund(id, amount, "EUR", standing, key)


def listed(*refunds: KnownRefund, paid: int | None = None, complete: bool = True) -> RefundsListed:
    """The provider's list."""
    return RefundsListed(refunds, paid, complete, ASK_AGAIN)


def made(standing: RefundStanding) -> RefundAnswered:
    """The answer to our wish."""
    return RefundAnswered(refund(standing, key=KEY), ASK_AGAIN)


def cancelled(saga: Saga | None = None) -> Play:
    """An operation whose payment is to go back."""
    play = Play(saga or refund_saga(LIMITS))
    play.idle()
    play.tell(CancelRequested(undo_succeeded=True))
    return play


def asked(play: Play, *answers: Signal) -> Play:
    """The list under a claim, and the wish under the same."""
    first, *rest = answers
    play.send()
    play.tell(first)
    for answer in rest:
        assert play.begin() is not None
        play.tell(answer)
    return play
