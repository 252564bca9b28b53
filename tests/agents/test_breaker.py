"""The breaker: nothing is sent while it is open, and one probe decides whether it closes."""

from datetime import timedelta

import pytest

from app.agents.breaker import PROBE_WAIT, CircuitBreaker
from tests.builders import NOW

OPEN = timedelta(seconds=30)
SECOND = timedelta(seconds=1)


@pytest.fixture
def opened() -> CircuitBreaker:
    breaker = CircuitBreaker(3, OPEN)
    for _ in range(3):
        breaker.failed(NOW)
    return breaker


def test_it_opens_after_so_many_failures_in_a_row() -> None:
    breaker = CircuitBreaker(3, OPEN)
    breaker.failed(NOW)
    breaker.failed(NOW)
    assert breaker.shut_until(NOW) is None
    breaker.failed(NOW + SECOND)
    assert breaker.shut_until(NOW + SECOND) == NOW + SECOND + OPEN


def test_an_answer_in_between_begins_the_row_anew() -> None:
    breaker = CircuitBreaker(3, OPEN)
    for _ in range(5):
        breaker.failed(NOW)
        breaker.failed(NOW)
        breaker.answered()
    assert breaker.shut_until(NOW) is None


def test_it_stays_open_for_its_time_whatever_late_failures_say(opened: CircuitBreaker) -> None:
    opened.failed(NOW + 20 * SECOND)
    assert opened.shut_until(NOW + OPEN - SECOND) == NOW + OPEN
    assert opened.shut_until(NOW + OPEN) is None


def test_half_open_it_lets_one_probe_through(opened: CircuitBreaker) -> None:
    after = NOW + OPEN
    assert opened.admit()
    assert opened.shut_until(after) == after + PROBE_WAIT
    opened.probe_ended()
    assert opened.shut_until(after) is None


def test_a_probe_that_is_answered_closes_it(opened: CircuitBreaker) -> None:
    opened.admit()
    opened.answered()
    opened.probe_ended()
    assert opened.shut_until(NOW + OPEN) is None
    assert not opened.admit()
    opened.failed(NOW + OPEN)
    assert opened.shut_until(NOW + OPEN) is None


def test_a_probe_that_fails_opens_it_again_for_the_whole_time(opened: CircuitBreaker) -> None:
    after = NOW + OPEN + SECOND
    opened.admit()
    opened.failed(after)
    opened.probe_ended()
    assert opened.shut_until(after) == after + OPEN
