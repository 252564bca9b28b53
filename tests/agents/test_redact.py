"""What is put on record holds no credentials and no card numbers, and is no larger than what is kept."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.agents.redact import DEEPEST, KEPT, REDACTED, Redactor, one_line

HEADERS = {"Authorization": "Bearer tok-en/12+3==", "X-Api-Key": "s3cr3t-k3y", "X-Tenant": "7", "X-Version": "v1"}


@pytest.fixture
def redactor() -> Redactor:
    return Redactor(HEADERS)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("you sent Bearer tok-en/12+3==", "you sent [redacted]"),
        ("the token is tok-en/12+3==!", "the token is [redacted]!"),
        ("/p?x=tok-en%2F12%2B3%3D%3D&y=7", "/p?x=[redacted]&y=7"),
        ("key s3cr3t-k3y of tenant 7, v1", "key [redacted] of tenant 7, v1"),
        ("https://user:pass@host/path", "https://[redacted]@host/path"),
        ("https://host/path?mail=a@b.example", "https://host/path?mail=a@b.example"),
        ("/p?token=abc&order=1", "/p?token=[redacted]&order=1"),
        ("password: hunter2, order: 1", "password: [redacted], order: 1"),
        ('{"client_secret": "a\\"b", "order": "1"}', '{"client_secret": [redacted], "order": "1"}'),
        ('{"password":"cut off in the mid', '{"password":[redacted]'),
        ("Authorization: Basic dXNlcjpwYXNz", "Authorization: Basic [redacted]"),
        ("sent Bearer abcdefgh.ijk", "sent Bearer [redacted]"),
        ("card 4242 4242 4242 4242 declined", "card [redacted] declined"),
        ("pan=4242424242424242;", "pan=[redacted];"),
        ("5555-5555-5555-4444", "[redacted]"),
        ("4242424242424241 is no card", "4242424242424241 is no card"),
        ("order 20260101120000123", "order 20260101120000123"),
        ("42424242-4242-4242-8242-424242424242", "42424242-4242-4242-8242-424242424242"),
    ],
)
def test_a_text_is_cleaned(redactor: Redactor, text: str, clean: str) -> None:
    assert redactor.text(text) == clean
    assert redactor.text(clean) == clean


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "card_number",
        "cvc",
        "CVV",
        "pan",
        "set-cookie",
        "private_key",
        "password",
        "PassWord",
        "user_password",
        "api_key",
        "apiKey",
        "X-API-Key",
        "access_token",
        "client-secret",
    ],
)
@pytest.mark.parametrize("value", ["abc", 123, 1.5, ["a"], {"a": "b"}])
def test_a_field_whose_name_says_secret_is_taken_out_whole(redactor: Redactor, name: str, value: Any) -> None:
    assert redactor.json({"deep": [{name: value, "order": 1}]}) == {"deep": [{name: REDACTED, "order": 1}]}


@pytest.mark.parametrize("name", ["order_id", "amount", "idempotency_key", "company", "expansion", "status"])
def test_other_fields_stay(redactor: Redactor, name: str) -> None:
    value = {name: ["x", 1, 1.5, True, None, {"y": "z"}]}
    assert redactor.json(value) == value


def test_secrets_and_cards_are_found_in_values_and_names_of_any_depth(redactor: Redactor) -> None:
    value = [{"s3cr3t-k3y": {"a": ["x s3cr3t-k3y"], "n": 4242424242424242, "t": 1767268800000}}]
    assert redactor.json(value) == [{REDACTED: {"a": [f"x {REDACTED}"], "n": REDACTED, "t": 1767268800000}}]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.sampled_from(["s3cr3t-k3y", "a:b", ""]),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["a", "token", "s3cr3t-k3y", "card"]), inner),
    max_leaves=20,
)


@given(values)
def test_no_value_shows_a_secret_and_cleaning_it_again_changes_nothing(value: Any) -> None:
    redactor = Redactor(HEADERS)
    clean = redactor.json(value)
    assert "s3cr3t" not in json.dumps(clean)
    assert redactor.json(clean) == clean


def test_the_value_itself_is_left_as_it_is(redactor: Redactor) -> None:
    value = {"password": "abc", "list": ["s3cr3t-k3y"]}
    redactor.json(value)
    assert value == {"password": "abc", "list": ["s3cr3t-k3y"]}


def test_the_password_of_a_basic_header_is_secret_too() -> None:
    redactor = Redactor({"Authorization": "Basic dXNlcjpodW50ZXIyMg=="})
    assert redactor.text("dXNlcjpodW50ZXIyMg== is user:hunter22, hunter22") == f"{REDACTED} is {REDACTED}, {REDACTED}"


def test_a_body_nested_beyond_the_stack_is_cut(redactor: Redactor) -> None:
    deep: Any = "x"
    for _ in range(DEEPEST * 5):
        deep = [deep]
    assert "nested too deep" in json.dumps(redactor.json(deep))


def test_a_long_body_is_kept_as_the_beginning_of_its_text(redactor: Redactor) -> None:
    value = {"token": {"inner": "abc"}, "text": "x" * 40_000}
    kept = redactor.body(value, json.dumps(value).encode())
    assert kept.startswith('{"token": "[redacted]", "text": "xxx')
    assert len(kept) < KEPT + 20
    assert kept.endswith("[cut]")


def test_of_a_huge_body_only_the_beginning_is_cleaned(redactor: Redactor) -> None:
    value = {"lines": [{"text": "s3cr3t-k3y of 4242424242424242", "n": 1} for _ in range(100_000)], "x" * 10**6: 1}
    began = time.process_time()
    kept = redactor.body(value, json.dumps(value).encode())
    assert time.process_time() - began < 1
    assert kept.startswith('{"lines": [{"text": "[redacted] of [redacted]", "n": 1}, {"text"')
    assert KEPT < len(kept) < KEPT + 20


def test_a_body_that_is_no_json_is_kept_as_text_and_cut(redactor: Redactor) -> None:
    assert redactor.body_text(b"") is None
    assert redactor.body_text(b"<h1>s3cr3t-k3y \xff</h1>") == "<h1>[redacted] �</h1>"
    kept = redactor.body_text(b"x" * 100_000)
    assert kept is not None
    assert len(kept) < KEPT + 20


def test_a_secret_across_the_cut_is_not_shown_in_part(redactor: Redactor) -> None:
    kept = redactor.body_text(b"x" * (KEPT - 4) + b"s3cr3t-k3y" + b"y" * 10)
    assert kept is not None
    assert "s3cr" not in kept


@pytest.mark.parametrize(
    "hostile",
    [
        "token" * 13_000,
        "a" * 65_000,
        '"token":"' * 7_000,
        "password=" * 7_000,
        "4" * 65_000,
        "4 " * 32_000,
        "://" * 20_000,
        "://" + "a" * 65_000,
        "bearer " * 9_000,
        "[redacted]" * 6_500,
        'token:"' + "\\" * 60_000,
        "token   " * 8_000,
    ],
)
def test_hostile_text_is_cleaned_in_linear_time(redactor: Redactor, hostile: str) -> None:
    began = time.process_time()
    redactor.text(hostile)
    assert time.process_time() - began < 1


def test_an_excerpt_is_one_line_that_any_text_column_holds(redactor: Redactor) -> None:
    assert redactor.excerpt("a\n\tb\x00c\ud800") == "a b c?"
    assert redactor.excerpt({"m": "ä"}) == '{"m": "ä"}'
    assert redactor.excerpt(None) == ""
    assert len(redactor.excerpt("x" * 1000)) == 200
    assert one_line("a" * 10, 5) == "aaaa…"
