"""What is PayPal's alone: certificates, and one webhook's signature."""

from dataclasses import replace
from typing import Any

import pytest

from app import providers
from app.errors import SignatureInvalid
from app.providers.reading import Payment
from tests.providers.stages import NOW, hear, key_and_certificate, signed, stage_of


@pytest.mark.parametrize("algorithm", ["SHA1withRSA", "none", "sha256WITHrsa2"])
def test_paypal_signs_with_one_algorithm(algorithm: str) -> None:
    stage = stage_of("paypal")
    sent = signed(stage.source, stage.sample)
    with pytest.raises(SignatureInvalid, match="SHA256withRSA"):
        hear(stage.source, replace(sent, headers={**sent.headers, "paypal-auth-algo": algorithm}))


def test_a_certificate_that_has_ended_or_not_begun_checks_nothing() -> None:
    stage = stage_of("paypal")
    sent = signed(stage.source, stage.sample)
    for year in (2024, 2037):
        with pytest.raises(SignatureInvalid, match="no valid certificate"):
            hear(stage.source, sent, NOW.replace(year=year))


def test_the_url_of_a_certificate_is_not_followed() -> None:
    stage = stage_of("paypal")
    sent = signed(stage.source, stage.sample)
    headers = {**sent.headers, "paypal-cert-url": "http://127.0.0.1:1/x"}
    assert isinstance(hear(stage.source, replace(sent, headers=headers))[0], Payment)


def test_a_signature_for_another_webhook_is_refused() -> None:
    stage = stage_of("paypal")
    options: Any = stage.source.options
    other = replace(stage.source, options=replace(options, webhook_id="WEBHOOK_ID"))
    with pytest.raises(SignatureInvalid):
        hear(stage.source, signed(other, stage.sample))


def test_only_a_private_key_signs_for_paypal() -> None:
    provider = providers.provider("paypal")
    assert provider.secret_fault(key_and_certificate(0)[0]) is None
    assert provider.secret_fault("whsec_x") == "must be an RSA private key in PEM, to sign for a try with"
