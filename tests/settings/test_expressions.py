"""Whatever text stands in the configuration, it is an expression or a fault; it is never a crash."""

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.settings.expressions import Reads, expression_fault, path_fault, reads

WORDS = ["a", "results", "length", "sort_by", "nope", "é", "'x'", "`1`", "==", "||", "-1"]
PIECES = st.sampled_from([*WORDS, *".[]{}()*?@&|!`:,0 \\\"'"])


@given(st.lists(PIECES, max_size=12).map("".join))
def test_every_text_is_an_expression_or_a_fault(text: str) -> None:
    with warnings.catch_warnings(action="ignore"):  # JMESPath warns of literals without quotes
        fault = expression_fault(text)
        if fault is None:
            assert isinstance(reads(text).names, frozenset)
        else:
            assert "\n" not in fault
        assert path_fault("/" + text) is None or "\n" not in str(path_fault("/" + text))


def test_an_expression_that_is_nested_too_deeply_is_a_fault() -> None:
    assert expression_fault("!" * 5000 + "a") == "is no JMESPath expression: it is nested too deeply"


@pytest.mark.parametrize("expression", ["merge(a, b, c)", "join(',', a)", "not_null(a)", "sort_by(a, &b)"])
def test_functions_with_their_arguments_are_fine(expression: str) -> None:
    assert expression_fault(expression) is None


@pytest.mark.parametrize(
    ("expression", "names", "results"),
    [
        ("order_id", {"order_id"}, set()),
        ("{a: amount, b: [currency]}", {"amount", "currency"}, set()),
        ("results.flight.ref", {"results"}, {"flight"}),
        ("@.results.flight", {"results"}, {"flight"}),
        ("results | flight", {"results"}, set()),
        ("event.items[?results == 'x'].order_id", {"event"}, set()),
        ("sort_by(event.items, &price)[0]", {"event"}, set()),
        ("@", {"@"}, set()),
        ("keys(@)", {"@"}, set()),
        ("'text'", set(), set()),
    ],
)
def test_what_an_expression_reads_is_seen(expression: str, names: set[str], results: set[str]) -> None:
    read = reads(expression)
    assert read == Reads(frozenset(names), frozenset(results))
