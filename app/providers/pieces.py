"""Pieces of a provider's JSON, which may be of any shape: a value, a text, a list, a time, an error that it tells of."""

import re
from datetime import UTC, datetime

from app.providers.refunds import Answered, Refusal, Verdict
from app.providers.text import legible
from app.saga.model import Json

_RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_NO_TIMES = {datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)}
_SUCCESS = 2  # the first digit of a status
_SERVER_ERROR = 500


def piece(value: Json, *path: str) -> Json:
    """What stands at a path of keys; None where nothing does."""
    for key in path:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def text(value: Json, *path: str) -> str | None:
    """A text that is not empty, or None."""
    found = piece(value, *path)
    return found if isinstance(found, str) and found else None


def items(value: Json, *path: str) -> list[Json]:
    """The items of a list; none where there is no list."""
    found = piece(value, *path)
    return found if isinstance(found, list) else []


def moment(value: Json) -> datetime | None:
    """RFC 3339 or seconds since 1970, in UTC; None where it is neither."""
    at = None
    try:
        if isinstance(value, str) and _RFC_3339.fullmatch(value):
            at = datetime.fromisoformat(value.upper()).astimezone(UTC)
        elif type(value) in {int, float}:
            at = datetime.fromtimestamp(value, UTC)
    except (ArithmeticError, OSError, ValueError):
        return None
    # The ends of the calendar are how programs write "no time"; the database would keep them as infinities.
    return None if at in _NO_TIMES else at


def succeeded(answered: Answered) -> bool:
    """Whether the status is 2xx."""
    return answered.status // 100 == _SUCCESS


def is_server_error(answered: Answered) -> bool:
    """Whether the status is 5xx: it may have been carried out."""
    return answered.status >= _SERVER_ERROR


def refused(verdict: Verdict, answered: Answered, *said: Json) -> Refusal:
    """A refusal with the status and whatever was said of it that is text."""
    words = " ".join(word for word in said if isinstance(word, str) and word)
    return Refusal(verdict, legible(f"{answered.status} {words}".strip()))
