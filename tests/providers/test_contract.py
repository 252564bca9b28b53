"""What holds for every provider that is found, each with its sample and the source that its page shows."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app import providers
from app.errors import ConfigurationError, MalformedBody, SignatureInvalid
from app.identity import operation_id
from app.providers import Signed
from app.providers.currencies import EXPONENTS
from app.providers.reading import Ignored, Payment, Unreadable
from app.settings import Mode
from tests.providers.stages import NOW, SCRIPTS, Stage, hear, signed, stage_of

JUNK = ["x", "é", "\x80\xff", ",", "=", "t=", "v1=", "v1,", "sha256=", "t=1,t=2,v1=x", "🂡", " ", "ab" * 40, "A" * 5000]


@pytest.fixture(params=providers.names())
def stage(request: pytest.FixtureRequest) -> Stage:
    return stage_of(request.param)


def paid(stage: Stage, sent: Signed) -> Payment:
    [reading] = hear(stage.source, sent)
    assert isinstance(reading, Payment), reading
    return reading


def detail(stage: Stage, body: bytes) -> str:
    [reading] = hear(stage.source, signed(stage.source, body))
    assert isinstance(reading, Unreadable), reading
    reading.detail.encode()
    return reading.detail


def test_every_provider_has_a_stage() -> None:
    assert sorted(SCRIPTS) == providers.names()


def test_the_sample_is_a_payment(stage: Stage) -> None:
    payment = paid(stage, signed(stage.source, stage.sample))
    assert (payment.amount, payment.currency) == (1999, "EUR")
    assert payment.order_id in {"order-1001", "#1001"}
    assert payment.occurred_at == datetime(2026, 1, 5, 9, 30, tzinfo=UTC)


def test_another_secret_is_refused(stage: Stage) -> None:
    with pytest.raises(SignatureInvalid):
        hear(stage.source, signed(stage.other, stage.sample))


def test_while_secrets_rotate_either_may_have_signed(stage: Stage) -> None:
    for source in (stage.source, stage.other):
        [reading] = hear(stage.both, signed(source, stage.sample))
        assert isinstance(reading, Payment)


def test_what_was_changed_after_it_was_signed_is_refused(stage: Stage) -> None:
    sent = signed(stage.source, stage.sample)
    event = json.loads(sent.body)
    place = event
    for key in stage.script.amount[:-1]:
        place = place[key]
    place[stage.script.amount[-1]] = "9.99" if stage.script.decimal else 999
    with pytest.raises(SignatureInvalid):
        hear(stage.source, replace(sent, body=json.dumps(event).encode()))


def test_bytes_are_signed_as_they_are(stage: Stage) -> None:
    """All but the one that signs fields: a newline more, or another way to write the same, is another body."""
    sent = signed(stage.source, stage.sample)
    for body in (sent.body + b"\n", b"\xef\xbb\xbf" + sent.body, json.dumps(json.loads(sent.body), indent=1).encode()):
        if stage.script.bytes_are_signed:
            with pytest.raises(SignatureInvalid):
                hear(stage.source, replace(sent, body=body))
        elif not body.startswith(b"\xef"):
            assert paid(stage, replace(sent, body=body)).amount == 1999


def test_a_signed_time_is_checked_both_ways(stage: Stage) -> None:
    sent = signed(stage.source, stage.sample)
    for off in (timedelta(minutes=-6), timedelta(minutes=6)):
        if stage.script.time_is_signed:
            with pytest.raises(SignatureInvalid, match="too"):
                hear(stage.source, sent, NOW + off)
        else:
            assert hear(stage.source, sent, NOW + off)


def test_no_secret_signs_or_verifies_nothing(stage: Stage) -> None:
    bare = replace(stage.source, secrets=())
    with pytest.raises(ConfigurationError, match=r"\.secrets: there is none to sign with"):
        signed(bare, stage.sample)
    if not stage.source.options.suffices:
        with pytest.raises(SignatureInvalid, match="has no secret"):
            hear(bare, signed(stage.source, stage.sample))


def test_a_header_that_is_missing_or_malformed_is_refused(stage: Stage) -> None:
    """Traps: a non-ASCII character, a comma that is not there, and the like crash other readers."""
    sent = signed(stage.source, stage.sample)
    for name in sent.headers:
        if name.endswith(("event-id", "x-delivery", "-topic")):
            continue  # hints, which are not signed
        without = {other: value for other, value in sent.headers.items() if other != name}
        with pytest.raises(SignatureInvalid):
            hear(stage.source, replace(sent, headers=without))
        for junk in ("", *JUNK):
            with pytest.raises(SignatureInvalid):
                hear(stage.source, replace(sent, headers=without | {name: junk}))
    with pytest.raises(SignatureInvalid):
        hear(stage.source, Signed({}, stage.sample))


@pytest.mark.parametrize("name", providers.names())
@settings(deadline=None)  # the first example makes the stage, with its keys
@given(data=st.data())
def test_no_headers_and_no_body_make_more_than_a_refusal(name: str, data: st.DataObject) -> None:
    stage = stage_of(name)
    sent = signed(stage.source, stage.sample)
    headers = {header: data.draw(st.text(max_size=30), label=header) for header in sent.headers}
    body = data.draw(st.one_of(st.binary(max_size=40), st.just(stage.sample)))
    with pytest.raises((SignatureInvalid, MalformedBody)):
        hear(stage.source, Signed(headers, body))


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"{", b"[" * 200 + b"]" * 200, b"NaN", b"amount=1"])
def test_what_is_signed_and_no_json_is_malformed(stage: Stage, body: bytes) -> None:
    if stage.script.bytes_are_signed:
        with pytest.raises(MalformedBody):
            hear(stage.source, signed(stage.source, body))
    else:
        with pytest.raises(MalformedBody):
            hear(stage.source, Signed({}, body))


@pytest.mark.parametrize("order", ["grün-é☃🂡", 'a"b\\c', "<>&'/", "{body}"])
@pytest.mark.parametrize("escaped", [True, False])
def test_unicode_and_escapes_are_read_as_they_are_meant(stage: Stage, order: str, escaped: bool) -> None:
    event = json.loads(stage.with_(stage.script.order, order))
    body = json.dumps(event, ensure_ascii=escaped).encode()
    assert paid(stage, signed(stage.source, body)).order_id == order


@pytest.mark.parametrize("order", ["", "a\x00b", "\ud800", "x" * 256, [], {}, 1.5, True])
def test_an_order_that_is_no_id_is_kept_for_a_human(stage: Stage, order: object) -> None:
    body = stage.with_(stage.script.order, order)
    [reading] = hear(stage.source, signed(stage.source, body))
    # Some have a second place where the order may stand.
    assert isinstance(reading, Unreadable) or reading.order_id != order  # type: ignore[union-attr]


def test_a_key_that_comes_twice_is_kept_for_a_human(stage: Stage) -> None:
    sent = signed(stage.source, stage.sample)
    twice = sent.body.rstrip()[:-1] + b', "zz": 1, "zz": 1}'
    if stage.script.bytes_are_signed:
        assert detail(stage, twice) == 'the key "zz" comes twice in one object'
    else:
        [reading] = hear(stage.source, replace(sent, body=twice))
        assert isinstance(reading, Unreadable)


# Another number of decimals than ISO 4217 says.
OTHER = {
    ("stripe", "ISK"): 2,
    ("stripe", "MGA"): 0,
    ("stripe", "UGX"): 2,
    ("adyen", "ISK"): 2,
    ("adyen", "CLP"): 2,
    ("adyen", "CVE"): 0,
    ("adyen", "IDR"): 0,
}


@pytest.mark.parametrize(
    "currency", ["EUR", "JPY", "KWD", "ISK", "CLP", "MGA", "UGX", "IDR", "CVE", "BHD", "HUF", "TWD"]
)
def test_amounts_are_exact_in_the_units_of_iso_4217(stage: Stage, currency: str) -> None:
    exponent = EXPONENTS[currency]
    assert exponent is not None
    sent = OTHER.get((stage.source.provider, currency), exponent)
    amount: object = "1000" if stage.script.decimal else 1000 * 10**sent
    payment = paid(stage, signed(stage.source, stage.money(amount, currency)))
    assert (payment.amount, payment.currency) == (1000 * 10**exponent, currency)


def test_an_amount_that_the_currency_cannot_hold_is_kept_for_a_human(stage: Stage) -> None:
    for currency in ("JPY", "HUF", "TWD") if stage.source.provider == "paypal" else ("JPY",):
        assert "amount" in detail(stage, stage.money("1000.50" if stage.script.decimal else 1000.5, currency))
    if (stage.source.provider, "ISK") in OTHER:
        assert "a whole number of ISK in 0 decimals" in detail(stage, stage.money(100050, "ISK"))


@pytest.mark.parametrize("amount", [0, -1, "0", "-1", "1e3", "1,50", "", None, True, 2**63, [], "9" * 50])
def test_what_is_no_amount_is_kept_for_a_human(stage: Stage, amount: object) -> None:
    assert "amount" in detail(stage, stage.money(amount, "EUR"))


@pytest.mark.parametrize("currency", ["XXZ", "", "EURO", "€"])
def test_what_is_no_currency_is_kept_for_a_human(stage: Stage, currency: str) -> None:
    assert "currency" in detail(stage, stage.money("1.00" if stage.script.decimal else 100, currency))


def test_a_replay_under_a_fresh_id_is_the_same_payment(stage: Stage) -> None:
    """Trap: where the id is in a header that nobody signs, whoever holds a body can send it as another event."""
    first, again = (paid(stage, signed(stage.source, stage.sample, name)) for name in ("msg_1", "msg_2"))
    assert operation_id("shop", first.external_id) == operation_id("shop", again.external_id)
    assert (first.order_id, first.amount, first.currency) == (again.order_id, again.amount, again.currency)


def test_what_another_body_says_in_other_words_is_the_same_event(stage: Stage) -> None:
    """A redelivery differs in counters and the like: its meaning and its id are what make the event."""
    event = json.loads(stage.sample) | {"pending_webhooks": 7, "attempt": 2}
    again = paid(stage, signed(stage.source, json.dumps(event).encode()))
    assert again == paid(stage, signed(stage.source, stage.sample))


def test_events_of_the_other_mode_are_ignored(stage: Stage) -> None:
    said = providers.provider(stage.source.provider).mode
    [reading] = hear(replace(stage.source, mode=Mode.TEST), signed(stage.source, stage.sample))
    assert isinstance(reading, Payment if said is None else Ignored)
