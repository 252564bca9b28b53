"""One payment there beside its operation here, and what events have told of refunds between them."""

from dataclasses import replace
from datetime import timedelta

import pytest

from app.providers.reading import Payment
from app.reconcile.comparison import NOTHING_TOLD, Difference, Told, compare, told_by
from app.saga.model import Operation, Phase, Status
from app.saga.refund_facts import KnownRefund, RefundStanding
from tests.builders import NOW, operation_for

LATER = NOW + timedelta(seconds=1)
PAYMENT = Payment("pay_1", "order-1", 1999, "EUR", None, "paid", None)


def operation(status: Status = Status.SUCCEEDED, phase: Phase = Phase.PURCHASE) -> Operation:
    return replace(operation_for(), status=status, phase=phase)


def differs(
    one: Operation, refunded: int | None, told: Told = NOTHING_TOLD, payment: Payment = PAYMENT
) -> list[tuple[Difference, object, object]]:
    found = compare(payment, one, refunded, told, LATER)
    return [(finding.difference, finding.here, finding.there) for finding in found]


def test_what_is_the_same_does_not_differ() -> None:
    assert differs(operation(), 0) == []
    assert differs(operation(), None) == []


def test_amounts_of_two_currencies_are_not_compared() -> None:
    foreign = replace(PAYMENT, amount=5, currency="JPY")
    assert differs(operation(), 3, payment=foreign) == [(Difference.CURRENCY, "EUR", "JPY")]


def test_an_amount_and_a_refund_can_both_differ() -> None:
    assert differs(operation(), 3, payment=replace(PAYMENT, amount=5)) == [
        (Difference.AMOUNT, 1999, 5),
        (Difference.REFUNDED, 0, 3),
    ]


@pytest.mark.parametrize(
    ("told", "refunded", "here"),
    [
        (Told(succeeded=700), 700, None),
        (Told(succeeded=700), 0, 700),
        (Told(succeeded=700), 701, 700),
        (Told(pending=700), 0, None),
        (Told(pending=700), 700, None),
        (Told(pending=700), 701, 700),
        (Told(disputed=1999), 0, None),
        (Told(disputed=1999), 1999, None),
        (Told(succeeded=100, pending=200, disputed=300), 600, None),
        (Told(succeeded=100, pending=200, disputed=300), 99, 100),
        (Told(succeeded=3000), 1999, None),
    ],
)
@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.PENDING, Status.HELD])
def test_what_events_have_told_is_what_should_be_given_back(
    status: Status, told: Told, refunded: int, here: int | None
) -> None:
    expected = [] if here is None else [(Difference.REFUNDED, here, refunded)]
    assert differs(operation(status), refunded, told) == expected


@pytest.mark.parametrize(
    ("told", "refunded", "here"),
    [
        (NOTHING_TOLD, 1999, None),
        (NOTHING_TOLD, 1998, 1999),
        (NOTHING_TOLD, 2000, 1999),
        (Told(succeeded=700), 1999, None),
        (Told(pending=1299), 700, None),
        (Told(disputed=1999), 0, None),
    ],
)
def test_of_a_refunded_payment_all_should_be_given_back(told: Told, refunded: int, here: int | None) -> None:
    expected = [] if here is None else [(Difference.REFUNDED, here, refunded)]
    assert differs(operation(Status.REFUNDED, Phase.REFUND), refunded, told) == expected


@pytest.mark.parametrize("status", [Status.PENDING, Status.PROCESSING, Status.ERROR, Status.WAITING])
@pytest.mark.parametrize("refunded", [0, 700, 1999])
def test_while_a_refund_of_ours_is_under_way_any_part_may_be_there(status: Status, refunded: int) -> None:
    assert differs(operation(status, Phase.REFUND), refunded) == []


def test_one_that_is_held_in_its_refund_is_compared() -> None:
    """The human who has to decide wants to know that the money is back already."""
    assert differs(operation(Status.HELD, Phase.REFUND), 1999) == [(Difference.REFUNDED, 0, 1999)]


def test_an_operation_that_has_changed_since_is_left_for_the_next_time() -> None:
    changed = replace(operation(), updated_at=LATER)
    assert differs(changed, 1999) == []
    assert differs(changed, 1999, payment=replace(PAYMENT, amount=5)) == [(Difference.AMOUNT, 1999, 5)]


def test_refunds_add_up_by_how_far_they_have_come() -> None:
    made = [
        (1, RefundStanding.SUCCEEDED),
        (10, RefundStanding.SUCCEEDED),
        (100, RefundStanding.PENDING),
        (1000, RefundStanding.DISPUTED),
        (10_000, RefundStanding.FAILED),
    ]
    refunds = [KnownRefund(f"re_{amount}", amount, "EUR", standing) for amount, standing in made]
    assert told_by(refunds) == Told(succeeded=11, pending=100, disputed=1000)
