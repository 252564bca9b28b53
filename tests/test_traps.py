"""Each known way in which a service of this kind loses money is named by a test that shows it does not happen here.

The test says it in its docstring, in words: "Trap 9: the answer to a commit is lost; a blind redo would write twice".
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
NAMED = re.compile(r"\bTraps? (\d+(?:(?:, | and )\d+)*): +(\S+(?: \S+){3})")
TRAPS = [*range(1, 11), 13, 14, 16, *range(20, 29), *range(32, 35), *range(41, 46), 47, 49, 51]


@cache
def named() -> dict[int, list[str]]:
    """The tests that name a trap, by its number."""
    found: dict[int, list[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for name, docstring in docstrings(path):
            for numbers, _ in NAMED.findall(" ".join(docstring.split())):
                for number in map(int, re.findall(r"\d+", numbers)):
                    found.setdefault(number, []).append(f"{path.relative_to(TESTS)}::{name}")
    return found


def docstrings(path: Path) -> Iterator[tuple[str, str]]:
    """The tests of a file that have a docstring."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            docstring = ast.get_docstring(node)
            if docstring:
                yield node.name, docstring


@pytest.mark.parametrize("trap", TRAPS)
def test_a_test_names_the_trap_and_says_it_in_words(trap: int) -> None:
    assert named().get(trap), f"no test says how it keeps out of trap {trap}"
