"""One reading of `makegood.toml`: typed values on request, and every fault of the document gathered on the way.

A getter that finds a fault notes it and hands back a stand-in of the right type, so that reading goes on and all
faults come out together. What was read is thrown away when there is any fault, so no stand-in is ever used.
"""

import json
import re
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from difflib import get_close_matches
from enum import StrEnum
from functools import partial
from typing import Any, TypeVar

from app.errors import ConfigurationError
from app.settings.durations import duration, written

Check = Callable[[str], str | None]

_Word = TypeVar("_Word", bound=StrEnum)

_VARIABLE = re.compile(r"\$\{([^}]*)\}?")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_KINDS = {bool: "a boolean", int: "an integer", float: "a number", str: "a string", list: "an array", dict: "a table"}
LONGEST_QUOTE = 80  # characters of a value that a message repeats


class Document:
    """A document that is being read: where its strings get their variables, and where its faults are gathered."""

    def __init__(self, values: Mapping[str, Any], environ: Mapping[str, str]) -> None:
        self.faults: list[str] = []
        self._environ = environ
        self._originals: dict[str, str] = {}
        self._tables: list[Table] = []
        self.root = self.table_at("", values)

    def table_at(self, path: str, values: Mapping[str, Any] | None) -> "Table":
        """The table of that path, whose keys will be checked at the end. None: it could not be read."""
        table = Table(self, path, values)
        self._tables.append(table)
        return table

    def fault(self, path: str, sentence: str) -> None:
        """Notes what is wrong at a path."""
        self.faults.append(f"{path}: {sentence}")

    def expand(self, path: str, text: str) -> str | None:
        """The text with its variables replaced; None, and a fault, where one of them is not set."""
        faults = len(self.faults)

        def value(found: re.Match[str]) -> str:
            name = found[1]
            if not name.isidentifier() or not found[0].endswith("}"):
                self.fault(path, "`${` must be followed by the name of an environment variable and `}`")
            elif name not in self._environ:
                self.fault(path, f"the environment variable {name} is not set")
            return self._environ.get(name, "")

        expanded = _VARIABLE.sub(value, text)
        if expanded != text:
            self._originals[expanded] = text
        return expanded if len(self.faults) == faults else None

    def quote(self, text: str) -> str:
        """The text as messages repeat it: on one line, not too long, and what came from the environment unnamed."""
        original = self._originals.get(text, text)
        short = original if len(original) <= LONGEST_QUOTE else original[: LONGEST_QUOTE - 1] + "…"
        return json.dumps(short, ensure_ascii=not short.isprintable())

    def close(self) -> None:
        """Ends the reading. Raises ConfigurationError with all faults, if there are any."""
        for table in self._tables:
            table.check_keys()
        if self.faults:
            raise ConfigurationError(self.faults)


class Table:
    """One table of the document. Whatever key is asked for is a known one; the others are faults in the end.

    Of a table that could not be read (`values` None) nothing is missed: its fault is noted already.
    """

    def __init__(self, document: Document, path: str, values: Mapping[str, Any] | None) -> None:
        self.document = document
        self.path = path
        self._readable = values is not None
        self._values = values or {}
        self._known: dict[str, None] = {}

    def at(self, key: str) -> str:
        """The path of a key of this table."""
        shown = key if _BARE_KEY.fullmatch(key) else json.dumps(key)
        return f"{self.path}.{shown}" if self.path else shown

    def fault(self, key: str, sentence: str) -> None:
        """Notes what is wrong with a key of this table."""
        self.document.fault(self.at(key), sentence)

    def know(self, *keys: str) -> None:
        """Makes keys known that are not read, since something else about the table is wrong already."""
        self._known.update(dict.fromkeys(keys))

    def has(self, key: str) -> bool:
        """Whether the table has this key."""
        self.know(key)
        return key in self._values

    def lacks(self, key: str) -> bool:
        """Whether the table could be read and does not have this key."""
        return not self.has(key) and self._readable

    def is_false(self, key: str) -> bool:
        """Whether the key's value is `false`."""
        return self.has(key) and self._values[key] is False

    def is_empty(self, key: str) -> bool:
        """Whether the key's value is an empty array."""
        return self.has(key) and self._values[key] == []

    def check_keys(self) -> None:
        """Notes every key that nobody has asked for."""
        for key in self._values:
            if key not in self._known:
                self.fault(key, f"unknown key{did_you_mean(key, self._known)}")

    def _take(self, key: str, kind: type, *, required: bool = False) -> Any:
        if not self.has(key):
            if required and self.lacks(key):
                self.fault(key, "is required")
            return None
        return self._of_kind(self.at(key), self._values[key], kind)

    def _of_kind(self, path: str, value: Any, kind: type) -> Any:
        # By the exact type: a boolean is no integer. An integer is a number.
        if type(value) is kind or (kind is float and type(value) is int):
            return self.document.expand(path, str(value)) if kind is str else value
        self.document.fault(path, f"must be {_KINDS[kind]}, not {_KINDS.get(type(value), 'a date or time')}")
        return None

    def text(self, key: str, default: str | None = None, check: Check | None = None) -> str:
        """A string; required where there is no default. `check` says what is wrong with a value, or None."""
        value = self._take(key, str, required=default is None)
        if value is None:
            return default or ""
        self._checked(key, check(value) if check else None)
        return str(value)

    def optional_text(self, key: str, check: Check | None = None) -> str | None:
        """A string, or None where the key is absent."""
        return self.text(key, "", check) if self.has(key) else None

    def texts(self, key: str, default: Collection[str] = (), check: Check | None = None) -> tuple[str, ...]:
        """An array of strings."""
        value = self._take(key, list)
        if value is None:
            return tuple(default)
        return tuple(self._text_of(f"{self.at(key)}[{index}]", item, check) for index, item in enumerate(value))

    def text_or_texts(self, key: str, default: Collection[str], check: Check | None = None) -> tuple[str, ...]:
        """A string or an array of strings."""
        if self.has(key) and isinstance(self._values[key], str):
            return (self.text(key, "", check),)
        return self.texts(key, default, check)

    def text_table(self, key: str, check: Callable[[str, str], str | None]) -> dict[str, str]:
        """A table whose keys are free and whose values are strings. `check` gets the key and the value."""
        value = self._take(key, dict) or {}
        inner = Table(self.document, self.at(key), value)
        return {name: self._text_of(inner.at(name), item, partial(check, name)) for name, item in value.items()}

    def _text_of(self, path: str, value: Any, check: Check | None) -> str:
        text = self._of_kind(path, value, str)
        sentence = check(text) if check and text is not None else None
        if sentence is not None:
            self.document.fault(path, sentence)
        return text or ""

    def word(self, key: str, words: type[_Word], default: _Word | None = None) -> _Word:
        """One of the words of a StrEnum; required where there is no default."""
        members = [member.value for member in words]
        text = self.text(key, default, lambda value: self._one_of(value, members))
        return words(text) if text in members else next(iter(words))

    def one_of(self, key: str, words: Collection[str]) -> str:
        """One of some words; required."""
        return self.text(key, check=lambda value: self._one_of(value, words))

    def _one_of(self, value: str, words: Collection[str]) -> str | None:
        if value in words:
            return None
        return f"must be one of {', '.join(words)}, not {self.document.quote(value)}"

    def integer(self, key: str, default: int, *, minimum: int = 1, maximum: int | None = None) -> int:
        """An integer within bounds, both inclusive."""
        value = self._take(key, int)
        if value is None:
            return default
        if value < minimum or (maximum is not None and value > maximum):
            bounds = f"at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"
            self.fault(key, f"must be {bounds}")
        return int(value)

    def number(self, key: str, default: float, *, minimum: float, maximum: float) -> float:
        """A number within bounds, both inclusive."""
        value = self._take(key, float)
        if value is None:
            return default
        if not minimum <= value <= maximum:
            self.fault(key, f"must be from {minimum:g} to {maximum:g}")
            return default
        return float(value)

    def duration(self, key: str, default: timedelta, *, minimum: timedelta = timedelta(milliseconds=1)) -> timedelta:
        """A duration that is at least as long as `minimum`."""
        text = self._take(key, str)
        if text is None:
            return default
        try:
            value = duration(text)
        except ValueError as wrong:
            self.fault(key, str(wrong))
            return default
        self._checked(key, f"must be at least {written(minimum)}" if value < minimum else None)
        return value

    def optional_duration(self, key: str) -> timedelta | None:
        """A duration, or None where the key is absent."""
        return self.duration(key, timedelta(0)) if self.has(key) else None

    def table(self, key: str) -> "Table":
        """The table of that key; where there is none, an empty one, all of defaults."""
        return self.document.table_at(self.at(key), self._take(key, dict) if self.has(key) else {})

    def tables(self, key: str) -> "list[Table]":
        """An array of tables."""
        items = self._take(key, list) or []
        paths = [f"{self.at(key)}[{index}]" for index in range(len(items))]
        return [
            self.document.table_at(path, self._of_kind(path, item, dict))
            for path, item in zip(paths, items, strict=True)
        ]

    def members(self, check: Check) -> "dict[str, Table]":
        """This table as a table of tables by their names, which `check` checks."""
        for name in self._values:
            self._checked(name, check(name))
        return {name: self.table(name) for name in self._values}

    def _checked(self, key: str, sentence: str | None) -> None:
        if sentence is not None:
            self.fault(key, sentence)


def did_you_mean(word: str, words: Collection[str]) -> str:
    """` (did you mean "...")` where one of the words is close; else nothing."""
    close = get_close_matches(word, words, n=1)
    return f' (did you mean "{close[0]}"?)' if close else ""
