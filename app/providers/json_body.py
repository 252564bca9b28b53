"""A body's bytes as JSON: stricter than Python's own reader, and never a crash.

What is no JSON at all is refused. What is JSON but means two things (a key that comes twice), or more than a number
here can carry, is handed on with its fault, so that it is kept for a human.
"""

import json
import math
import re
from typing import Any, NamedTuple

from app.errors import MalformedBody
from app.providers.text import legible
from app.saga.model import Json

# Real webhooks nest fewer than twenty deep; whatever walks a body later, recursing, stays far from Python's own limit.
DEEPEST = 100
# As many digits as Python reads into an integer by itself: more would cost quadratic time.
MOST_DIGITS = 4300

# A string, also one that never ends, is passed over in one step: each byte of the body is looked at once.
_STRING_OR_BRACKET = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[{\]}]', re.DOTALL)


class Decoded(NamedTuple):
    """A JSON value, and what makes it unfit to be read as a payment, if anything does.

    Numbers that are out of range stand in it as the text that was sent.
    """

    value: Json
    fault: str | None


def decode(body: bytes) -> Decoded:
    """Reads a body.

    Raises:
        MalformedBody: it is not JSON, not UTF-8, or nested deeper than `DEEPEST`.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as wrong:
        raise MalformedBody(f"the body is not UTF-8 at byte {wrong.start + 1}") from None
    if _is_too_deep(body):
        raise MalformedBody(f"the body is nested more than {DEEPEST} deep")
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as wrong:
        raise MalformedBody(f"the body is not JSON: {wrong.msg} at line {wrong.lineno}, column {wrong.colno}") from None


class _Decoder:
    """Reads one text after the other, each at a stretch, and remembers its first fault that is none of JSON's.

    Made once, as json.loads makes a decoder for every call that asks for anything special.
    """

    def __init__(self) -> None:
        self._fault: str | None = None
        hooks: dict[str, Any] = {
            "object_pairs_hook": self._object,
            "parse_constant": _refuse_constant,
            "parse_float": self._number,
        }
        self._usual = json.JSONDecoder(**hooks)
        self._of_long_integers = json.JSONDecoder(**hooks, parse_int=self._integer)

    def decode(self, text: str) -> Decoded:
        """The value of a text. Raises JSONDecodeError where it is none."""
        if text.startswith("\ufeff"):  # JSON has none, and json.loads would say the same
            raise json.JSONDecodeError("Unexpected UTF-8 BOM", text, 0)
        self._fault = None
        try:
            value = self._usual.decode(text)
        except json.JSONDecodeError:
            raise
        except ValueError:  # an integer of too many digits; read again, looking at each
            self._fault = None
            value = self._of_long_integers.decode(text)
        return Decoded(value, self._fault)

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs) and self._fault is None:
            self._fault = f'the key "{legible(_twice(pairs), 80)}" comes twice in one object'
        return found

    def _number(self, text: str) -> float | str:
        value = float(text)
        return value if math.isfinite(value) else self._out_of_range(text)

    def _integer(self, text: str) -> int | str:
        return int(text) if len(text) <= MOST_DIGITS else self._out_of_range(text)

    def _out_of_range(self, text: str) -> str:
        self._fault = self._fault or "it holds a number that is out of range"
        return text


def _twice(pairs: list[tuple[str, Any]]) -> str:
    """The first key that comes a second time; there is one."""
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            break
        seen.add(key)
    return key


def _refuse_constant(name: str) -> None:
    raise MalformedBody(f"the body is not JSON: {name} is no JSON number")


def _is_too_deep(body: bytes) -> bool:
    if body.count(b"[") + body.count(b"{") <= DEEPEST:
        return False
    depth = 0
    for found in _STRING_OR_BRACKET.finditer(body):
        first = body[found.start()]
        if first in b"[{":
            depth += 1
            if depth > DEEPEST:
                return True
        elif first in b"]}":
            depth -= 1
    return False


_DECODER = _Decoder()
