"""Durations as the configuration writes them: `"250ms"`, `"30s"`, `"5m"`, `"24h"`, `"90d"`."""

import re
from datetime import timedelta

_FORM = re.compile(r"([0-9]{1,18})(ms|s|m|h|d)")
_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}

# A hundred years: a longer one, added to a time of today, would soon leave the calendar.
LONGEST = timedelta(days=36_500)


def duration(text: str) -> timedelta:
    """The duration that a text says.

    Raises:
        ValueError: with a sentence about what is wrong with it; the text itself is not in it.
    """
    form = _FORM.fullmatch(text)
    if form is None:
        raise ValueError('must be a duration such as "250ms", "30s", "5m", "24h" or "90d"')
    number, unit = int(form[1]), _UNITS[form[2]]
    if number > LONGEST // unit:
        raise ValueError(f"must not be longer than {LONGEST.days} days")
    return number * unit


def written(value: timedelta) -> str:
    """A duration in the largest unit that says it exactly: what `duration` reads back."""
    for unit in reversed(_UNITS):
        if value % _UNITS[unit] == timedelta(0) and (value or unit == "s"):
            return f"{value // _UNITS[unit]}{unit}"
    return f"{value / _UNITS['ms']:g}ms"
