"""Standard Webhooks, with the scheme's own library as the judge of what is signed."""

import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import standardwebhooks
from hypothesis import given
from hypothesis import strategies as st

from app.errors import SignatureInvalid
from app.providers.standard_webhooks import PROVIDER
from app.settings import Source

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
BODY = '{"type": "payment.received", "note": "grün"}'.encode()
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + base64.b64encode(b"another secret of some length").decode()


def signed(body: bytes = BODY, secret: str = SECRET, at: datetime = NOW, delivery_id: str = "msg_1") -> dict[str, str]:
    """Headers as the scheme's own library makes them."""
    signature = standardwebhooks.Webhook(secret).sign(delivery_id, at, body.decode())
    return {
        "webhook-id": delivery_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": signature,
    }


def refused(source: Source, headers: dict[str, str], body: bytes = BODY, now: datetime = NOW) -> str:
    with pytest.raises(SignatureInvalid) as caught:
        PROVIDER.verify(source, headers, body, now)
    return str(caught.value)


def test_what_the_schemes_library_signs_is_accepted(source: Source) -> None:
    assert PROVIDER.verify(source, signed(), BODY, NOW).delivery_id == "msg_1"


def test_what_is_signed_here_is_accepted_by_the_schemes_library(source: Source) -> None:
    now = datetime.now(UTC)
    headers = PROVIDER.sign(source, BODY, now, "msg_2").headers
    assert standardwebhooks.Webhook(SECRET).verify(BODY, dict(headers))["type"] == "payment.received"


def test_the_example_of_the_scheme_is_accepted(source: Source) -> None:
    """The vector that the scheme's libraries share."""
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    at = datetime.fromtimestamp(1614265330, UTC)
    assert PROVIDER.verify(source, headers, b'{"test": 2432232314}', at).delivery_id == "msg_p5jXN8AQM9LWM0D4loKWxJek"


def test_svix_names_are_the_same_scheme(source: Source) -> None:
    headers = {name.replace("webhook", "svix"): value for name, value in signed().items()}
    assert PROVIDER.verify(source, headers, BODY, NOW).delivery_id == "msg_1"


def test_names_of_two_families_are_not_mixed(source: Source) -> None:
    headers = signed()
    headers["svix-signature"] = headers.pop("webhook-signature")
    assert refused(source, headers) == "the header svix-id is missing or empty"


def test_any_of_the_secrets_may_have_signed(source: Source) -> None:
    rotating = replace(source, secrets=(OTHER, SECRET))
    assert PROVIDER.verify(rotating, signed(), BODY, NOW).delivery_id == "msg_1"
    assert PROVIDER.verify(rotating, signed(secret=OTHER), BODY, NOW).delivery_id == "msg_1"


def test_any_of_the_signatures_may_be_right(source: Source) -> None:
    headers = signed()
    both = f"v1a,bm90aGluZw== {signed(secret=OTHER)['webhook-signature']} {headers['webhook-signature']} rubbish"
    assert PROVIDER.verify(source, headers | {"webhook-signature": both}, BODY, NOW).delivery_id == "msg_1"


@pytest.mark.parametrize("secret", [SECRET.removeprefix("whsec_"), OTHER.rstrip("=")])
def test_prefix_and_padding_of_a_secret_may_be_left_out(source: Source, secret: str) -> None:
    PROVIDER.verify(replace(source, secrets=(secret,)), signed(secret=secret), BODY, NOW)
    assert PROVIDER.secret_fault(secret) is None


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_====", "whsec_a", "whsec_a b", "ä", "whsec_c2V-jcmV0", "\ud800"]
)
def test_a_secret_that_is_no_key_is_told(secret: str) -> None:
    assert PROVIDER.secret_fault(secret) in {"is empty", "must be base64, with or without whsec_ before it"}


@pytest.mark.parametrize("change", [BODY + b"\n", b"\xef\xbb\xbf" + BODY, BODY.replace(b" ", b""), b"", b"\xff"])
def test_only_the_very_bytes_are_signed(source: Source, change: bytes) -> None:
    assert refused(source, signed(), change) == "no signature is by a secret of this source"


@pytest.mark.parametrize(("header", "value"), [("webhook-id", "msg_9"), ("webhook-timestamp", "1767268799")])
def test_id_and_time_are_signed_too(source: Source, header: str, value: str) -> None:
    assert refused(source, signed() | {header: value}) == "no signature is by a secret of this source"


def test_another_secret_is_refused(source: Source) -> None:
    assert refused(source, signed(secret=OTHER)) == "no signature is by a secret of this source"


@pytest.mark.parametrize("seconds", [-300, -299, 0, 299, 300])
def test_a_time_within_the_tolerance_is_accepted(source: Source, seconds: int) -> None:
    at = NOW + timedelta(seconds=seconds)
    assert PROVIDER.verify(source, signed(at=at), BODY, NOW).delivery_id == "msg_1"


@pytest.mark.parametrize(("seconds", "what"), [(-301, "too old"), (301, "too early"), (10**9, "too early")])
def test_a_time_beyond_the_tolerance_is_refused_both_ways(source: Source, seconds: int, what: str) -> None:
    assert what in refused(source, signed(at=NOW + timedelta(seconds=seconds)))


def test_the_tolerance_is_the_sources(source: Source) -> None:
    wide = replace(source, tolerance=timedelta(hours=1))
    assert PROVIDER.verify(wide, signed(at=NOW - timedelta(minutes=59)), BODY, NOW).delivery_id == "msg_1"


@pytest.mark.parametrize("header", ["webhook-id", "webhook-timestamp", "webhook-signature"])
@pytest.mark.parametrize("empty", [True, False])
def test_a_missing_header_is_named(source: Source, header: str, empty: bool) -> None:
    headers = signed()
    del headers[header]
    assert refused(source, headers | ({header: ""} if empty else {})) == f"the header {header} is missing or empty"


@pytest.mark.parametrize(
    "value", ["nan", "inf", "-1", "1e9", "1767268800.0", "9" * 400, "٣", " 1767268800", "é", "0x10", "1_0", "now"]
)
def test_a_time_that_is_no_number_of_seconds_is_refused(source: Source, value: str) -> None:
    """Trap: other libraries read it as a float, or crash, and the sender gets a 500 and sends for days."""
    sentence = refused(source, signed() | {"webhook-timestamp": value})
    assert "the signed time is not a whole number" in sentence or "no header can have" in sentence


def test_a_huge_number_of_seconds_is_too_early(source: Source) -> None:
    assert "too early" in refused(source, signed() | {"webhook-timestamp": "9" * 12})


@pytest.mark.parametrize(
    "value", ["x", "v1", "v1,", "v2,abc", "v1a,abc", ",", " ", "v1 abc", "é", "v1,é", "\U0001f4b6"]
)
def test_a_malformed_signature_is_refused(source: Source, value: str) -> None:
    """Trap: comparing a header with a non-ASCII character as text raises, and so does one without a comma."""
    assert refused(source, signed() | {"webhook-signature": value}) in {
        "the signature header has no signature of version v1",
        "no signature is by a secret of this source",
        "the header webhook-signature has characters that no header can have",
    }


@given(headers=st.dictionaries(st.sampled_from(list(signed())), st.text(max_size=40)), body=st.binary(max_size=40))
def test_no_headers_at_all_make_more_than_a_refusal(headers: dict[str, str], body: bytes) -> None:
    fields = PROVIDER.default_fields
    source = Source("shop", PROVIDER.name, (SECRET,), "purchase", timedelta(minutes=5), "shop", fields)
    assert refused(source, signed() | {"webhook-signature": "v1,eA=="} | headers, body)


@pytest.mark.parametrize("delivery_id", ["a" * 256, "a\x85b"])
def test_an_id_that_cannot_be_kept_is_let_go(source: Source, delivery_id: str) -> None:
    """The delivery's id is a hint: the payment is taken without it."""
    text = b".".join((delivery_id.encode("latin-1"), str(int(NOW.timestamp())).encode(), BODY))
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    signature = base64.b64encode(standardwebhooks.webhooks.hmac_data(key, text)).decode()
    headers = signed() | {"webhook-id": delivery_id, "webhook-signature": f"v1,{signature}"}
    assert PROVIDER.verify(source, headers, BODY, NOW).delivery_id is None
