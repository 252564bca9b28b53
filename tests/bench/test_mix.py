"""What the webhooks of a long run are: load, supplier and driver must agree on every number."""

from collections import Counter

import pytest

from bench.mix import Kind, kind, payments, told


def test_most_payments_go_well_and_a_few_do_not() -> None:
    found = Counter(kind(number) for number in range(10_000))
    assert found == {Kind.WELL: 9_500, Kind.REFUSED: 200, Kind.UNKNOWN: 100, Kind.REDELIVERED: 100, Kind.SECOND: 100}


@pytest.mark.parametrize("wanted", [Kind.REDELIVERED, Kind.SECOND])
def test_a_duplicate_tells_of_a_payment_that_came_before_and_goes_well(wanted: Kind) -> None:
    for number in payments(range(10_000), wanted):
        assert 0 <= told(number) < number
        assert kind(told(number)) is Kind.WELL


def test_the_second_event_comes_long_after_the_first_and_a_redelivery_at_once() -> None:
    assert (told(9_980), told(9_930)) == (4_900, 9_920)


def test_every_other_webhook_tells_of_its_own_payment() -> None:
    for number in payments(range(1_000), Kind.WELL, Kind.REFUSED, Kind.UNKNOWN):
        assert told(number) == number
