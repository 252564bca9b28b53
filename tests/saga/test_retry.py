"""When a call is made again."""

from datetime import timedelta

import pytest

from app.saga.definition import DEFAULT_RETRY, RetryPolicy
from app.saga.retry import interval, retry_at
from tests.saga.stage import HOUR, NOON, SECOND


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 1), (2, 2), (3, 4), (4, 8), (6, 32), (7, 60), (8, 60)])
def test_the_wait_doubles_up_to_its_maximum(attempt: int, seconds: int) -> None:
    assert interval(DEFAULT_RETRY, attempt) == timedelta(seconds=seconds)


def test_the_far_end_neither_overflows_nor_takes_long() -> None:
    """Trap: 2.0 to the power of a few thousand is no number any more."""
    assert interval(DEFAULT_RETRY, 1_000_000_000) == DEFAULT_RETRY.maximum_interval


def test_an_interval_that_does_not_grow_is_kept() -> None:
    assert interval(RetryPolicy(5, SECOND, 1.0, HOUR), 500) == SECOND


def test_an_initial_interval_beyond_the_maximum_is_the_maximum() -> None:
    assert interval(RetryPolicy(5, HOUR, 2.0, SECOND), 1) == SECOND


@pytest.mark.parametrize(("jitter", "seconds"), [(0.0, 2), (0.5, 3), (1.0, 4)])
def test_jitter_spreads_the_upper_half(jitter: float, seconds: int) -> None:
    """Trap: what failed together comes again together."""
    assert retry_at(DEFAULT_RETRY, 3, NOON, jitter, None) == NOON + timedelta(seconds=seconds)


def test_the_agents_wish_wins_where_it_is_later() -> None:
    assert retry_at(DEFAULT_RETRY, 1, NOON, 1.0, NOON + HOUR) == NOON + HOUR
    assert retry_at(DEFAULT_RETRY, 3, NOON, 1.0, NOON + SECOND) == NOON + 4 * SECOND
