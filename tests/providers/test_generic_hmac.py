"""Any HMAC that a configuration can spell."""

import base64
from dataclasses import replace
from typing import Any

import pytest

from app.errors import SignatureInvalid
from app.providers.reading import Payment
from tests.providers.stages import hear, signed, stage_of


@pytest.mark.parametrize("signed_text", ["{body}", "{timestamp}.{body}", "{url}{body}", "v0:{timestamp}:{url}:{body}"])
@pytest.mark.parametrize("encoding", ["hex", "base64"])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("prefix", ["", "sha256=", "v1,"])
def test_any_hmac_is_made_and_checked(signed_text: str, encoding: str, algorithm: str, prefix: str) -> None:
    stage = stage_of("hmac")
    options: Any = stage.source.options
    at = "X-Timestamp" if "{timestamp}" in signed_text else ""
    url = "https://shop.example/x" if "{url}" in signed_text else ""
    words = {"encoding": type(options.encoding)(encoding), "algorithm": type(options.algorithm)(algorithm)}
    options = replace(options, signed=signed_text, prefix=prefix, timestamp_header=at, url=url, **words)
    source = replace(stage.source, options=options)
    sent = signed(source, stage.sample)
    [reading] = hear(source, sent)
    assert isinstance(reading, Payment)
    assert reading.delivery_id == "msg_1"
    assert list(options.faults()) == []
    value = sent.headers["x-signature"]
    size = {"sha256": 32, "sha512": 64}[algorithm]
    shown = value.removeprefix(prefix)
    assert len(bytes.fromhex(shown) if encoding == "hex" else base64.b64decode(shown)) == size
    for wrong in (shown[:-4], "x" + shown, prefix + prefix + "00", f"{prefix}é"):
        with pytest.raises(SignatureInvalid):
            hear(source, replace(sent, headers={**sent.headers, "x-signature": wrong}))
    with pytest.raises(SignatureInvalid):
        hear(source, replace(sent, body=sent.body + b" "))


def test_a_body_that_holds_a_placeholder_is_signed_as_it_is() -> None:
    stage = stage_of("hmac")
    body = stage.with_(stage.script.order, "{timestamp}{url}{body}")
    assert isinstance(hear(stage.source, signed(stage.source, body))[0], Payment)


@pytest.mark.parametrize(("event_id", "found"), [("", None), ("data.payment_id", "pay_1001"), ("header:X-ID", "msg_1")])
def test_an_events_id_is_where_the_configuration_says(event_id: str, found: str | None) -> None:
    stage = stage_of("hmac")
    options: Any = stage.source.options
    source = replace(stage.source, options=replace(options, event_id=event_id))
    [reading] = hear(source, signed(source, stage.sample))
    assert reading.delivery_id == found
