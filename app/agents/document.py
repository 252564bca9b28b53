"""A call's document becomes the body and the path that are declared for the call.

What cannot be made from the document is never sent: it is a `RequestRefused`, which counts as a rejection.
"""

import json
import re
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any
from urllib.parse import quote

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.parser import ParsedResult
from jmespath.visitor import TreeInterpreter

from app.errors import Rejected
from app.saga.model import Json
from app.saga.writing import writer

_written = writer(allow_nan=False)

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")

# What evaluating an expression over a document it does not fit can raise: the library's own errors, and Python's where
# it does not look first (ordering mixed lists, rounding infinities, nesting beyond the stack).
EVALUATION_ERRORS = (
    JMESPathError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)


class RequestRefused(Rejected):
    """The call cannot be made from its document, so it is never sent; it counts as rejected."""


class _Reader(TreeInterpreter):
    """JMESPath over a document. It refuses to read the result of a step that has none, however that is spelled.

    It watches the reading itself rather than the expression's text, so that `results.a`, `results | a` and
    `results.{x: a}` are all one.
    """

    def __init__(self, results: Json) -> None:
        super().__init__()
        self._results = results

    def visit_field(self, node: Any, value: Json) -> Json:
        return _field(node["value"], value, self._results)


def _field(name: str, value: Json, results: Json) -> Json:
    if not isinstance(value, dict):
        return None
    found = value.get(name)
    if found is None and value is results:
        raise RequestRefused(f"it reads the result of {name}, which has none")
    return found


# What a part of an expression says of a value. It is given the document's results too, to know them when it reads them.
_Plain = Callable[[Json, Json], Json]


def _plain(node: Any) -> _Plain | None:
    """A parsed expression of names, dots and braces as a function: the library's meaning without its interpreter.

    That is what most calls are declared with. None where there is more in it.
    """
    if node["type"] == "field":
        return partial(_field, node["value"])
    children = [_plain(child) for child in node["children"]]
    parts = [part for part in children if part is not None]
    if len(parts) < len(children):
        return None
    match node["type"]:
        case "subexpression":
            return partial(_walk, parts)
        case "key_val_pair":
            return parts[0]
        case "multi_select_dict":
            return partial(
                _select, [(child["value"], part) for child, part in zip(node["children"], parts, strict=True)]
            )
        case _:
            return None


def _walk(parts: list[_Plain], value: Json, results: Json) -> Json:
    for part in parts:
        value = part(value, results)
    return value


def _select(parts: list[tuple[str, _Plain]], value: Json, results: Json) -> Json:
    return None if value is None else {name: part(value, results) for name, part in parts}


@lru_cache(maxsize=1024)  # the expressions of the sagas in use; far more than a configuration has
def compiled(expression: str) -> ParsedResult:
    """The parsed expression. Raises JMESPathError where it is none."""
    return jmespath.compile(expression)


@lru_cache(maxsize=1024)
def _plainly(expression: str) -> _Plain | None:
    return _plain(compiled(expression).parsed)


def evaluate(expression: str, document: dict[str, Json]) -> Json:
    """What a JMESPath expression says of a call's document.

    Raises:
        RequestRefused: it reads the result of a step that has none, or it does not fit the document.
    """
    results = document.get("results")
    try:
        plainly = _plainly(expression)
        if plainly is not None:
            return plainly(document, results)
        return _Reader(results).visit(compiled(expression).parsed, document)
    except RequestRefused:
        raise
    except EVALUATION_ERRORS as error:
        raise RequestRefused(f"{expression} cannot be evaluated: {error}") from error


def body_of(expression: str | None, document: dict[str, Json]) -> tuple[Json, bytes]:
    """A call's body as a value and as the bytes that are sent; no expression sends the whole document.

    The same document gives the same bytes, keys in the order in which they were evaluated: an agent may compare a
    repetition with what it has stored under the idempotency key. Whole numbers are exact, and what is not ASCII is
    escaped, so that a lone surrogate in the webhook still makes valid UTF-8.

    Raises:
        RequestRefused: the body cannot be made from the document.
    """
    value = document if expression is None else evaluate(expression, document)
    try:
        return value, _written(value).encode("ascii")
    except (RecursionError, TypeError, ValueError) as error:
        raise RequestRefused(f"the body is not JSON: {error}") from error


def fill(path: str, document: dict[str, Json]) -> str:
    """A declared path with its placeholders replaced, each quoted as one path segment.

    Raises:
        RequestRefused: a value is missing, empty, `.` or `..`, or is an object or a list.
    """
    if "{" not in path:
        return path
    return _PLACEHOLDER.sub(lambda found: _segment(found[1], document), path)


def _segment(expression: str, document: dict[str, Json]) -> str:
    value = evaluate(expression, document)
    if value is None:
        raise RequestRefused(f"the path needs {{{expression}}}, which is missing")
    if not isinstance(value, str | int | float):
        raise RequestRefused(f"the path needs {{{expression}}}, which is neither text nor a number")
    try:
        text = value if isinstance(value, str) else json.dumps(value)
        segment = quote(text, safe="")
    except ValueError as error:
        raise RequestRefused(f"the path needs {{{expression}}}, which cannot be written in a URL") from error
    if segment in {"", ".", ".."}:
        raise RequestRefused(f"the path needs {{{expression}}}, which is {json.dumps(text)}")
    return segment
