"""Bytes that are no JSON are refused; none of them is a crash."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import MalformedBody
from app.providers.json_body import DEEPEST, decode
from app.providers.reading import parse


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "is not JSON: Expecting value at line 1, column 1"),
        (b" ", "is not JSON"),
        (b"{", "is not JSON"),
        (b"{} {}", "is not JSON: Extra data at line 1, column 4"),
        (b"{'a': 1}", "is not JSON"),
        (b'{"a": 1,}', "is not JSON"),
        (b"payment=1", "is not JSON"),
        (b'"a\nb"', "is not JSON: Invalid control character"),
        (b'"\x00"', "is not JSON: Invalid control character"),
        (b"01", "is not JSON"),
        (b"+1", "is not JSON"),
        (b".5", "is not JSON"),
        (b"NaN", "is not JSON: NaN is no JSON number"),
        (b'{"a": [Infinity]}', "is not JSON: Infinity is no JSON number"),
        (b"-Infinity", "is not JSON: -Infinity is no JSON number"),
        (b"\xff", "is not UTF-8 at byte 1"),
        (b'{"a": "\xc3"}', "is not UTF-8 at byte 8"),
        (b'"\xed\xa0\x80"', "is not UTF-8 at byte 2"),
        (b"\xef\xbb\xbf{}", "is not JSON: Unexpected UTF-8 BOM"),
        ('{"a": 1}'.encode("utf-16"), "is not UTF-8"),
        (b'{"a": 1}\x00', "is not JSON: Extra data"),
    ],
)
def test_what_is_no_json_is_refused(body: bytes, sentence: str) -> None:
    with pytest.raises(MalformedBody) as caught:
        parse(body)
    assert str(caught.value).startswith(f"the body {sentence}")


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
@pytest.mark.parametrize("depth", [DEEPEST + 1, 1_000, 100_000])
def test_absurd_nesting_is_refused(opening: bytes, depth: int) -> None:
    closing = b"]" if opening == b"[" else b"}"
    with pytest.raises(MalformedBody, match="nested more than 100 deep"):
        parse(opening * depth + b"1" + closing * depth)


def test_nesting_that_is_not_absurd_is_read() -> None:
    assert parse(b"[" * DEEPEST + b"]" * DEEPEST) is not None


def test_many_brackets_are_not_yet_deep() -> None:
    assert len(parse(b"[" + b"[{}]," * 1000 + b"[]]")) == 1001
    assert parse(json.dumps(["[" * 5000, '"' * 50 + "\\" * 51, "{" * 5000]).encode())[0] == "[" * 5000


@pytest.mark.parametrize("body", [b'"' + b'\\"' * 400_000 + b"[" * 200, b'{"' * 300_000, b'["' + b"\\" * 800_000])
def test_a_hostile_body_costs_no_more_than_its_length(body: bytes) -> None:
    """Trap: a search that begins anew at each quote looks at a megabyte a million times."""
    before = time.process_time()
    with pytest.raises(MalformedBody):
        parse(body)
    assert time.process_time() - before < 2


def test_numbers_are_exact_and_those_out_of_range_stand_as_text() -> None:
    assert parse(b"[9007199254740993, -0, 12345678901234567890123]") == [9007199254740993, 0, 12345678901234567890123]
    big = "9" * 4301
    assert parse(f'{{"a": [{big}, 1, 1e999, 1.5]}}'.encode()) == {"a": [big, 1, "1e999", 1.5]}
    assert decode(b"9" * 4300).fault is None
    assert decode(big.encode()).fault == "it holds a number that is out of range"


def test_half_a_surrogate_pair_is_json() -> None:
    assert parse(b'"\\ud800"') == "\ud800"


def test_the_first_key_that_comes_twice_is_named() -> None:
    assert decode(b'{"a": {"b": 1, "c": 2, "c": 3, "b": 4}, "a": 1}').fault == 'the key "c" comes twice in one object'


JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)


@given(JSON_VALUES)
def test_what_is_json_is_read_as_it_was_written(value: Any) -> None:
    decoded = decode(json.dumps(value, ensure_ascii=False).encode())
    assert (decoded.value, decoded.fault) == (value, None)


@given(st.binary(max_size=60) | st.text('[]{}",:\\ue019.-NaIn\n ', max_size=60).map(str.encode))
def test_any_bytes_are_json_or_refused(body: bytes) -> None:
    try:
        value = parse(body)
    except MalformedBody:
        value = None
    else:
        json.dumps(value)
    assert value is None or value == json.loads(body)
