"""What a verified body means: each row of the contract about meaning, and each odd body that has been seen."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import providers
from app.providers.reading import Ignored, Payment, read
from app.providers.standard_webhooks import PROVIDER
from app.settings import Source
from tests.providers.bodies import DELIVERY, LARGEST, body, unreadable
from tests.providers.stages import SCRIPTS, hear, signed, stage_of


def test_a_payment_is_read(source: Source) -> None:
    assert read(source, DELIVERY, body()) == Payment(
        external_id="pay_1",
        order_id="order-1",
        amount=1999,
        currency="EUR",
        occurred_at=datetime(2026, 1, 1, 12, tzinfo=UTC),
        event_type="payment.received",
        delivery_id="msg_1",
    )


def test_any_of_several_event_types_is_a_payment(source: Source) -> None:
    both = replace(source, fields=replace(source.fields, payment_events=frozenset({"paid", "payment.received"})))
    assert isinstance(read(both, DELIVERY, body()), Payment)
    assert isinstance(read(both, DELIVERY, body().replace(b"payment.received", b"paid")), Payment)


def test_another_event_is_ignored_whatever_else_it_holds(source: Source) -> None:
    assert read(source, DELIVERY, b'{"type": "payment.failed", "data": 5}') == Ignored("payment.failed", "msg_1")


@pytest.mark.parametrize("text", ['"a\\u0000b"', '"a\\ud800b"', '"a\\u0085b"'])
def test_the_type_of_an_ignored_event_can_always_be_shown(source: Source, text: str) -> None:
    """Trap: half of a surrogate pair in the answer fails when the answer is written, and that is a 500."""
    assert read(source, DELIVERY, f'{{"type": {text}}}'.encode()) == Ignored("a�b", "msg_1")


def test_the_type_of_an_ignored_event_is_cut(source: Source) -> None:
    reading = read(source, DELIVERY, json.dumps({"type": "x" * 1000}).encode())
    assert isinstance(reading, Ignored)
    assert len(reading.event_type) == 255


@pytest.mark.parametrize("text", [b"[]", b"1", b'"x"', b"null", b"true", b"[" * 100 + b"]" * 100])
def test_what_is_no_object_is_unreadable(source: Source, text: bytes) -> None:
    assert unreadable(read(source, DELIVERY, text)) == "the body is no JSON object"


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        (b"{}", "event_type (type) is missing"),
        (b'{"type": null}', "event_type (type) is missing"),
        (b'{"type": 5}', "event_type (type) must be text, not 5"),
        (b'{"type": ""}', 'event_type (type) must be text, not ""'),
        (b'{"type": ["payment.received"]}', 'event_type (type) must be text, not ["payment.received"]'),
    ],
)
def test_no_event_type_is_unreadable(source: Source, text: bytes, detail: str) -> None:
    assert unreadable(read(source, DELIVERY, text)) == detail


@pytest.mark.parametrize(
    "text",
    [
        b'{"type": "x", "type": "payment.received"}',
        b'{"type": "payment.received", "data": {"amount": 1, "type": 2, "amount": 1}}',
        b'{"a": [{"b": {"amount": 1, "amount": 1}}], "type": "other"}',
        b'{"amount": 1, "\\u0061mount": 2}',
    ],
)
def test_a_key_that_comes_twice_is_unreadable(source: Source, text: bytes) -> None:
    """Trap: one reader takes the first amount, another the last."""
    detail = unreadable(read(source, DELIVERY, text))
    assert detail in {f'the key "{key}" comes twice in one object' for key in ("type", "amount")}


@pytest.mark.parametrize("field", ["payment_id", "order_id"])
class TestIds:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ("x", "x"),
            (" x ", " x "),
            ("ü€\U0001f4b6", "ü€\U0001f4b6"),
            ("x" * 255, "x" * 255),
            ("\U0001f4b6" * 255, "\U0001f4b6" * 255),
            (0, "0"),
            (-5, "-5"),
            (10**30, "1" + "0" * 30),
            (10**254, "1" + "0" * 254),
        ],
    )
    def test_text_is_kept_and_an_integer_is_its_decimal_text(
        self, source: Source, field: str, value: str | int, expected: str
    ) -> None:
        reading = read(source, DELIVERY, body(**{field: value}))
        assert isinstance(reading, Payment)
        assert {"payment_id": reading.external_id, "order_id": reading.order_id}[field] == expected

    @pytest.mark.parametrize(
        ("value", "fault"),
        [
            (None, "is missing"),
            ("", "is empty"),
            ("x" * 256, "has 256 characters; 255 are allowed"),
            ("x" * 10_000, "has 10000 characters; 255 are allowed"),
            (10**255, "has 256 characters; 255 are allowed"),
            ("a\x00b", "has a control character"),
            ("a\nb", "has a control character"),
            ("a\x7fb", "has a control character"),
            ("a\x85b", "has a control character"),
            ("a\ud800b", "has half of a surrogate pair"),
            (True, "must be text or an integer, not true"),
            (1.0, "must be text or an integer, not 1.0"),
            ({"id": "x"}, 'must be text or an integer, not {"id": "x"}'),
            (["x"], 'must be text or an integer, not ["x"]'),
        ],
    )
    def test_what_is_no_id_is_unreadable(self, source: Source, field: str, value: Any, fault: str) -> None:
        assert unreadable(read(source, DELIVERY, body(**{field: value}))) == f"{field} (data.{field}) {fault}"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-01-01T12:00:00Z", datetime(2026, 1, 1, 12, tzinfo=UTC)),
        ("2026-01-01t12:00:00z", datetime(2026, 1, 1, 12, tzinfo=UTC)),
        ("2026-01-01 12:00:00.123456789+02:00", datetime(2026, 1, 1, 10, 0, 0, 123456, tzinfo=UTC)),
        (1767268800, datetime(2026, 1, 1, 12, tzinfo=UTC)),
        (1767268800.5, datetime(2026, 1, 1, 12, 0, 0, 500000, tzinfo=UTC)),
        ("2026-01-01T12:00:00", None),
        ("2026-01-01", None),
        ("2026-13-01T12:00:00Z", None),
        ("2016-12-31T23:59:60Z", None),
        ("0001-01-01T00:00:00+23:59", None),
        ("1767268800", None),
        (1767268800000, None),
        (10**400, None),
        (1e308, None),
        (True, None),
        (None, None),
        ({}, None),
        ("yesterday", None),
    ],
)
def test_a_time_that_cannot_be_read_is_none(source: Source, value: Any, expected: datetime | None) -> None:
    raw = json.loads(body()) | {"timestamp": value}
    reading = read(source, DELIVERY, json.dumps(raw).encode())
    assert isinstance(reading, Payment)
    assert reading.occurred_at == expected


def test_all_that_is_wrong_is_said_at_once(source: Source) -> None:
    reading = read(source, DELIVERY, b'{"type": "payment.received", "data": {"amount": "12", "currency": "eur"}}')
    assert unreadable(reading) == (
        "payment_id (data.payment_id) is missing; order_id (data.order_id) is missing; "
        f'amount (data.amount) must be an integer from 1 to {LARGEST}, not "12"'
    )
    assert reading.event_type == "payment.received"


def test_a_long_value_is_cut_in_the_detail(source: Source) -> None:
    assert len(unreadable(read(source, DELIVERY, body(amount="9" * 100_000)))) < 200


@pytest.mark.parametrize(
    "expression",
    [
        "abs(data.order_id)",
        "sort_by(data.list, &@)",
        "join('', data.amount)",
        "max(data.mixed)",
        "nope(data)",
        "data.*.x",
    ],
)
def test_an_expression_that_fails_over_a_body_makes_it_unreadable(source: Source, expression: str) -> None:
    """The words of an operator are tried on whatever a sender writes; that must not be a 500."""
    odd = replace(source, fields=replace(source.fields, amount=expression))
    raw = body(list=[1, "a"], mixed=["a", 1])
    assert unreadable(read(odd, DELIVERY, raw)).startswith(f"amount ({expression}) ")


def test_an_expression_of_jmespath_finds_what_dotted_names_cannot(source: Source) -> None:
    odd = replace(source, fields=replace(source.fields, amount="sum(lines[].price)", currency="'EUR'"))
    raw = json.loads(body()) | {"lines": [{"price": 1900}, {"price": 99}]}
    reading = read(odd, DELIVERY, json.dumps(raw).encode())
    assert isinstance(reading, Payment)
    assert (reading.amount, reading.currency) == (1999, "EUR")


def test_a_number_that_nothing_can_carry_is_unreadable(source: Source) -> None:
    """Trap: Python refuses integers of more than 4,300 digits with an error of its own, and reads 1e999 as infinite."""
    for number in (b"9" * 5000, b"-" + b"9" * 5000, b"1e999", b"-1e999"):
        raw = body().replace(b'"pay_1"', b'"pay_1", "extra": ' + number)
        assert unreadable(read(source, DELIVERY, raw)) == "it holds a number that is out of range"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(data=st.fixed_dictionaries(dict.fromkeys(("payment_id", "order_id", "amount", "currency"), VALUES)), at=VALUES)
def test_every_body_has_a_meaning(data: Any, at: Any) -> None:
    fields = PROVIDER.default_fields
    source = Source("shop", PROVIDER.name, (), "purchase", timedelta(minutes=5), "shop", fields)
    reading = read(source, DELIVERY, json.dumps({"type": "payment.received", "timestamp": at, "data": data}).encode())
    if isinstance(reading, Payment):
        assert 1 <= reading.amount <= LARGEST
    else:
        assert unreadable(reading)


@pytest.mark.parametrize("provider", SCRIPTS)
def test_a_call_is_made_of_the_same_event_at_once_and_when_it_is_read_from_the_database(provider: str) -> None:
    """Another spelling would be another request under the same idempotency key, which an agent refuses."""
    stage = stage_of(provider)
    sent = signed(stage.source, stage.sample)
    readings = hear(stage.source, sent)
    for reading, message in zip(readings, providers.provider(provider).messages(sent.body), strict=True):
        assert isinstance(reading, Payment)
        assert json.dumps(reading.event) == json.dumps(json.loads(message))


@pytest.mark.parametrize("number", ["1.0", "1e2", "-0.0", "0.1", "1E400", "12345678901234567890", "1" * 5000, "1e-400"])
def test_a_number_is_the_same_in_both(source: Source, number: str) -> None:
    message = body().replace(b"1999,", b'1999, "more": ' + number.encode() + b",")
    assert number.encode() in message
    reading = read(source, DELIVERY, message)
    if isinstance(reading, Payment):
        assert json.dumps(reading.event) == json.dumps(json.loads(message))
    else:
        assert number in {"1E400", "1" * 5000}
