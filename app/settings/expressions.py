"""The JMESPath expressions and path templates of the configuration: whether they can be read, and what they read."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError, ParseError
from jmespath.functions import Functions

from app.settings.document import did_you_mean

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_DOTTED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")
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
        if isinstance(child, dict):
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
    if kind == "subexpression" and children[0] == {"type": "field", "children": [], "value": "results"}:
        step = children[1]
        return Reads(frozenset({"results"}), frozenset({step["value"]}) if step["type"] == "field" else frozenset())
    inner = children[:1] if kind in _NARROWING else children
    found = NOTHING
    for child in inner:
        if isinstance(child, dict):
            found |= _reads(child)
    return found


def placeholders(path: str) -> list[str]:
    """The names between braces in a path, in their order."""
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
    if _DOTTED.fullmatch(name):
        return None
    return "between braces stands a name of the call's document, such as {order_id} or {results.flight.ref}"
