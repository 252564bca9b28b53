"""The JMESPath expressions and path templates of the configuration: whether they can be read, and what they read."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError, ParseError
from jmespath.functions import Functions

from app.settings.document import did_you_mean

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_FUNCTIONS = Functions.FUNCTION_TABLE
_Node = Mapping[str, Any]

# Nodes whose first child reads the same value as the node itself, and the others something within it.
_NARROWING = frozenset(
    {"subexpression", "index_expression", "projection", "value_projection", "filter_projection", "pipe"}
)


@dataclass(frozen=True, slots=True)
class Reads:
    """What an expression reads of a call's document: names of its first level, and steps whose result it names."""

    names: frozenset[str]
    results: frozenset[str] = frozenset()

    def __or__(self, other: "Reads") -> "Reads":
        return Reads(self.names | other.names, self.results | other.results)


NOTHING = Reads(frozenset())
EVERYTHING = Reads(frozenset({"@"}))  # the document as a whole


def expression_fault(expression: str) -> str | None:
    """What keeps a JMESPath expression from ever being evaluated, or None. The expression is not repeated in it."""
    try:
        parsed = jmespath.compile(expression).parsed
        return next(_function_faults(parsed), None)
    except ParseError as wrong:
        # Its own text repeats the expression, which may have come from the environment.
        return f"is no JMESPath expression: it breaks off or goes wrong at column {wrong.lex_position + 1}"
    except (JMESPathError, ValueError):
        return "is no JMESPath expression: it is empty" if not expression else "is no JMESPath expression"
    except RecursionError:
        return "is no JMESPath expression: it is nested too deeply"


def _function_faults(node: _Node) -> Iterator[str]:
    """Unknown functions and wrong counts of arguments: JMESPath itself finds them only when the call is made."""
    if node["type"] == "function_expression":
        name, given = node["value"], len(node["children"])
        if name not in _FUNCTIONS:
            yield f"JMESPath has no function {name}{did_you_mean(name, _FUNCTIONS)}"
        else:
            signature = _FUNCTIONS[name]["signature"]
            more = bool(signature) and signature[-1].get("variadic", False)
            if given < len(signature) or (given > len(signature) and not more):
                yield f"the function {name} takes {len(signature)}{' or more' if more else ''} arguments, not {given}"
    for child in node["children"]:
        if isinstance(child, Mapping):  # a slice has plain numbers
            yield from _function_faults(child)


def reads(expression: str) -> Reads:
    """What an expression that can be read reads of the document that it is applied to."""
    return _reads(jmespath.compile(expression).parsed)


def _reads(node: _Node) -> Reads:
    kind, children = node["type"], node["children"]
    if kind == "field":
        return Reads(frozenset({node["value"]}))
    if kind in {"current", "identity"}:
        return EVERYTHING
    if kind == "expref":  # applied to the items of an argument
        return NOTHING
    if kind in _NARROWING:
        return _reads_through(kind, children)
    found = NOTHING
    for child in children:
        found |= _reads(child)
    return found


def _reads_through(kind: str, children: Sequence[_Node]) -> Reads:
    first, *rest = children
    if first["type"] == "current" and rest:  # `@.order_id` is `order_id`
        return _reads_through(kind, rest)
    if kind == "subexpression" and first.get("value") == "results" and rest and rest[0]["type"] == "field":
        return Reads(frozenset({"results"}), frozenset({rest[0]["value"]}))
    return _reads(first)


def placeholders(path: str) -> list[str]:
    """The expressions between braces in a path, in their order."""
    return _PLACEHOLDER.findall(path)


def path_fault(path: str) -> str | None:
    """What is wrong with the path of a call, or None."""
    if not path.startswith("/"):
        return "must begin with /"
    rest = _PLACEHOLDER.sub("", path)
    if "{" in rest or "}" in rest:
        return "has a brace without its other half"
    if not rest.isascii() or not rest.isprintable() or " " in rest:
        return "may have only printable ASCII characters without spaces; others are written as %XX"
    if "#" in rest:
        return "must not have a fragment (#)"
    return next(filter(None, map(_placeholder_fault, placeholders(path))), None)


def _placeholder_fault(name: str) -> str | None:
    fault = expression_fault(name)
    return f"between braces stands what {{order_id}} or {{results.flight.ref}} name: it {fault}" if fault else None
