"""Durations as people write them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.settings.durations import LONGEST, duration, written


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("250ms", timedelta(milliseconds=250)),
        ("30s", timedelta(seconds=30)),
        ("5m", timedelta(minutes=5)),
        ("24h", timedelta(hours=24)),
        ("90d", timedelta(days=90)),
        ("0s", timedelta(0)),
        ("36500d", LONGEST),
    ],
)
def test_a_duration_is_a_number_and_a_unit(text: str, expected: timedelta) -> None:
    assert duration(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "30", "s", "-1s", "+1s", "1.5s", "1 s", " 1s", "1s\n", "1S", "1w", "1h30m", "٣s", "36501d", "9" * 30 + "ms"],
)
def test_anything_else_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="must "):
        duration(text)


@given(st.integers(min_value=0, max_value=LONGEST // timedelta(milliseconds=1)))
def test_what_is_written_is_read_back(milliseconds: int) -> None:
    value = timedelta(milliseconds=milliseconds)
    assert duration(written(value)) == value
