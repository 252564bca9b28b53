"""How often a process looks for what was kept long enough."""

from datetime import timedelta

import pytest

from app.settings import Retention
from app.worker.retention import interval


@pytest.mark.parametrize(
    ("retention", "seconds"),
    [
        (Retention(), 600),
        (Retention(finished=timedelta(days=90)), 600),
        (Retention(finished=timedelta(seconds=30)), 30),
        (Retention(finished=timedelta(days=90), events=timedelta(minutes=2)), 120),
        (Retention(finished=timedelta(milliseconds=1)), 1),
    ],
)
def test_what_is_kept_for_a_short_time_is_looked_for_as_often(retention: Retention, seconds: int) -> None:
    assert interval(retention) == timedelta(seconds=seconds)
