"""What is sent is made from the call's document, and what cannot be made from it is never sent."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.agents import RequestRefused
from app.agents.document import _Reader, body_of, compiled, evaluate, fill
from app.errors import Rejected

DOCUMENT: dict[str, Any] = {
    "operation_id": "5f0c",
    "order_id": "order-1",
    "amount": 2**63 - 1,
    "results": {"flight": {"ref": "F/1", "legs": [1, 2], "empty": ""}, "hotel": None, "taxi": {}},
    "event": {"results": {"hotel": None}, "dots": "..", "dot": ".", "flag": False, "half": 0.5, "data": {"a": 1}},
}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        (
            "{id: operation_id, order: order_id, amount: amount}",
            {"id": "5f0c", "order": "order-1", "amount": 2**63 - 1},
        ),
        ("results.flight.ref", "F/1"),
        ("results.flight.nothing", None),
        ("results.taxi", {}),
        ("event.results.hotel", None),
        ("keys(results)", ["flight", "hotel", "taxi"]),
        ("results.*.ref", ["F/1"]),
    ],
)
def test_an_expression_reads_the_document(expression: str, value: Any) -> None:
    assert evaluate(expression, DOCUMENT) == value


@pytest.mark.parametrize(
    "expression",
    [
        "{ref: results.hotel.ref}",
        "{ref: results.train.ref}",
        "{ref: results.payment}",
        "results | hotel",
        "@.results.hotel",
        "results.{a: flight, b: hotel}",
        "results.[flight, hotel]",
        'results."hotel"',
        "results.hotel.ref || 'none'",
        "[order_id, [results.hotel]]",
        "map(&@, [results.hotel])",
    ],
)
def test_the_result_of_a_step_that_has_none_is_never_read_however_it_is_spelled(expression: str) -> None:
    with pytest.raises(RequestRefused, match="which has none"):
        body_of(expression, DOCUMENT)


@pytest.mark.parametrize(
    "expression",
    ["length(amount)", "sort([order_id, amount])", "nonsense(order_id)", "{a: ", "&order_id", "to_number('nan')"],
)
def test_a_body_that_cannot_be_made_is_refused_and_counts_as_rejected(expression: str) -> None:
    with pytest.raises(Rejected):
        body_of(expression, DOCUMENT)


names = st.sampled_from(["a", "b", "results", "event", '"x y"'])
plain = st.recursive(
    names,
    lambda inner: (
        st.builds("{}.{}".format, inner, inner)
        | st.builds("{{k: {}, a: {}}}".format, inner, inner)
        | st.builds("{}.{{k: {}}}".format, inner, inner)
    ),
    max_leaves=5,
)
values = st.recursive(
    st.none() | st.integers(0, 2) | st.text(max_size=2) | st.lists(st.integers(0, 2), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from(["a", "b", "results", "event", "x y", "k"]), inner, max_size=4),
    max_leaves=12,
)
documents = st.dictionaries(st.sampled_from(["a", "b", "results", "event", "x y"]), values)


@given(plain, documents)
def test_a_plain_expression_says_what_the_library_says(expression: str, document: dict[str, Any]) -> None:
    try:
        told = _Reader(document.get("results")).visit(compiled(expression).parsed, document)
    except RequestRefused as refused:
        with pytest.raises(RequestRefused, match=re.escape(str(refused))):
            evaluate(expression, document)
    else:
        assert evaluate(expression, document) == told


def test_no_expression_sends_the_whole_document() -> None:
    value, content = body_of(None, DOCUMENT)
    assert value is DOCUMENT
    assert json.loads(content) == DOCUMENT


def test_the_bytes_are_compact_in_the_order_of_the_expression_and_the_same_each_time() -> None:
    """Trap: an agent that compares a repetition with what it has stored under the key refuses one that differs."""
    expression = "{b: amount, a: event.half, name: order_id}"
    first = body_of(expression, DOCUMENT)[1]
    again = body_of(expression, json.loads(json.dumps(DOCUMENT)))[1]
    assert first == again == b'{"b":9223372036854775807,"a":0.5,"name":"order-1"}'


def test_integers_of_any_size_are_exact() -> None:
    assert body_of("n", {"n": 10**40 + 1})[1] == b"1" + b"0" * 39 + b"1"


def test_a_lone_surrogate_and_a_nul_are_sent_as_escapes() -> None:
    assert body_of("s", {"s": "\ud800\x00ä"})[1] == b'"\\ud800\\u0000\\u00e4"'


def test_a_body_nested_beyond_the_stack_is_refused() -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(RequestRefused, match="not JSON"):
        body_of("deep", {"deep": deep})


@pytest.mark.parametrize(
    ("value", "segment"),
    [
        ("order-1", "order-1"),
        ("a/b", "a%2Fb"),
        ("a?b#c", "a%3Fb%23c"),
        ("100%", "100%25"),
        ("%2e%2e", "%252e%252e"),
        ("a/../b", "a%2F..%2Fb"),
        ("ä€😀", "%C3%A4%E2%82%AC%F0%9F%98%80"),
        ("a b+c&d=e;f", "a%20b%2Bc%26d%3De%3Bf"),
        ("a\\b\x00\n", "a%5Cb%00%0A"),
        ("...", "..."),
        (7, "7"),
        (0, "0"),
        (10**30, "1" + "0" * 30),
        (0.5, "0.5"),
        (False, "false"),
    ],
)
def test_a_placeholder_is_quoted_as_one_segment_of_the_path(value: Any, segment: str) -> None:
    assert fill("/p/{event.it}/cancel?id={event.it}", {"event": {"it": value}}) == f"/p/{segment}/cancel?id={segment}"


@pytest.mark.parametrize("value", ["", ".", "..", None, [], ["a"], {}, {"a": 1}, "\ud800"])
def test_a_value_that_makes_no_segment_is_never_sent(value: Any) -> None:
    with pytest.raises(RequestRefused, match=r"the path needs \{event.it\}"):
        fill("/p/{event.it}", {"event": {"it": value}})


@pytest.mark.parametrize(
    "path", ["/p/{missing}", "/p/{results.hotel.ref}", "/p/{results.flight.empty}", "/{event.dots}"]
)
def test_a_path_that_lacks_its_value_is_never_sent(path: str) -> None:
    with pytest.raises(RequestRefused):
        fill(path, DOCUMENT)


def test_a_path_reads_results_and_may_have_several_placeholders() -> None:
    assert fill("/{order_id}/x{results.flight.ref}-{amount}", DOCUMENT) == "/order-1/xF%2F1-9223372036854775807"
