"""The providers' own libraries as judges: what they sign is accepted here, and what is signed here they accept."""

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from typing import Any

import pytest
import razorpay
import stripe
import svix
from Adyen.util import is_valid_hmac_notification
from mollie.utils.webhooks import InvalidSignatureException, SignatureValidator
from square.utils.webhooks_helper import verify_signature

from app.clock import DatabaseClock
from app.errors import SignatureInvalid
from app.providers import Signed
from app.providers.reading import Payment
from tests.providers.stages import NOW, Stage, hear, signed, stage_of

ODD = '{"note": "grün ☃ \\u00e9 \\" </x>"}'.encode()


def assert_accepted(stage: Stage, headers: dict[str, str], body: bytes) -> None:
    [reading] = hear(stage.source, Signed(headers, body), NOW)
    assert isinstance(reading, Payment)


def assert_refused(stage: Stage, headers: dict[str, str], body: bytes) -> None:
    with pytest.raises(SignatureInvalid, match="no signature is by a secret of this source"):
        hear(stage.source, Signed(headers, body), NOW)


def test_stripe_accepts_what_is_signed_here() -> None:
    stage = stage_of("stripe")
    (secret,) = stage.source.secrets
    for body in (stage.sample, ODD):
        sent = signed(stage.source, body, now=DatabaseClock().wall())
        header = sent.headers["stripe-signature"]
        assert stripe.WebhookSignature.verify_header(body.decode(), header, secret, 300)


def test_what_stripe_signs_is_accepted() -> None:
    stage = stage_of("stripe")
    at = int(NOW.timestamp())
    (first,), (second,) = stage.source.secrets, stage.other.secrets
    text = f"{at}.{stage.sample.decode()}"
    signature, rolled = (stripe.WebhookSignature._compute_signature(text, secret) for secret in (first, second))
    for header in (
        f"t={at},v1={signature}",
        f"t={at},v1={rolled},v1={signature},v0=x",
        f"v1={signature},t={at}",
    ):
        assert_accepted(stage, {"stripe-signature": header}, stage.sample)


def test_square_accepts_what_is_signed_here() -> None:
    stage = stage_of("square")
    options: Any = stage.source.options
    for body in (stage.sample, ODD):
        assert verify_signature(
            request_body=body.decode(),
            signature_header=signed(stage.source, body).headers["x-square-hmacsha256-signature"],
            signature_key=stage.source.secrets[0],
            notification_url=options.url,
        )


def test_razorpay_accepts_what_is_signed_here() -> None:
    stage = stage_of("razorpay")
    verify = razorpay.Client(auth=("key", "secret")).utility.verify_webhook_signature
    for body in (stage.sample, ODD):
        signature = signed(stage.source, body).headers["x-razorpay-signature"]
        assert verify(body.decode(), signature, stage.source.secrets[0])


def test_adyen_accepts_what_is_signed_here() -> None:
    stage = stage_of("adyen")
    for body in (stage.sample, stage.with_(stage.script.order, "grün ☃"), stage.money(0, "JPY")):
        item = json.loads(signed(stage.source, body).body)["notificationItems"][0]["NotificationRequestItem"]
        item.setdefault("originalReference", "")
        assert is_valid_hmac_notification(item, stage.source.secrets[0])


def test_mollie_accepts_what_is_signed_here() -> None:
    stage = stage_of("mollie")
    secrets = [*stage.other.secrets, *stage.source.secrets]
    for body in (stage.sample, ODD):
        signature = signed(stage.source, body).headers["x-mollie-signature"]
        assert SignatureValidator.validate(body.decode(), secrets[1], signature)
        assert SignatureValidator.validate(body.decode(), secrets, signature)
        with pytest.raises(InvalidSignatureException):
            SignatureValidator.validate(body.decode() + " ", secrets, signature)
        with pytest.raises(InvalidSignatureException):
            SignatureValidator.validate(body.decode(), secrets[0], signature)


def test_what_mollie_signs_is_accepted() -> None:
    stage = stage_of("mollie")
    (first,), (second,) = stage.source.secrets, stage.other.secrets
    text = stage.sample.decode()
    for prefix in ("sha256=", ""):
        signature, rolled = (prefix + SignatureValidator.create_signature(text, secret) for secret in (first, second))
        assert_accepted(stage, {"x-mollie-signature": signature}, stage.sample)
        assert_refused(stage, {"x-mollie-signature": signature}, stage.sample + b" ")
        assert_refused(stage, {"x-mollie-signature": rolled}, stage.sample)
        rotating = replace(stage, source=stage.both)
        for either in (signature, rolled):
            assert_accepted(rotating, {"x-mollie-signature": either}, stage.sample)


def test_svix_accepts_what_is_signed_here() -> None:
    """Under the scheme's own names of the headers, and under those that Svix had before there was a scheme."""
    stage = stage_of("standard-webhooks")
    (first,), (second,) = stage.source.secrets, stage.other.secrets
    for body in (stage.sample, ODD):
        sent = signed(stage.source, body, now=DatabaseClock().wall())
        for family in ("webhook", "svix"):
            headers = {name.replace("webhook", family): value for name, value in sent.headers.items()}
            svix.Webhook(first).verify(body, headers)
            with pytest.raises(svix.WebhookVerificationError):
                svix.Webhook(first).verify(body + b" ", headers)
            with pytest.raises(svix.WebhookVerificationError):
                svix.Webhook(second).verify(body, headers)


@pytest.mark.parametrize("family", ["webhook", "svix"])
def test_what_svix_signs_is_accepted(family: str) -> None:
    stage = stage_of("standard-webhooks")
    (first,), (second,) = stage.source.secrets, stage.other.secrets
    text = stage.sample.decode()
    signature, rolled = (svix.Webhook(secret).sign("msg_1", NOW, text) for secret in (first, second))
    headers = {f"{family}-id": "msg_1", f"{family}-timestamp": str(int(NOW.timestamp()))}
    rotating = replace(stage, source=stage.both)
    for given in (signature, f"{rolled} {signature}"):
        assert_accepted(stage, headers | {f"{family}-signature": given}, stage.sample)
    for given in (signature, rolled):
        assert_accepted(rotating, headers | {f"{family}-signature": given}, stage.sample)
    assert_refused(stage, headers | {f"{family}-signature": rolled}, stage.sample)
    assert_refused(stage, headers | {f"{family}-signature": signature}, stage.sample + b" ")
    assert_refused(stage, headers | {f"{family}-id": "msg_2", f"{family}-signature": signature}, stage.sample)


def test_what_the_page_of_shopify_says_is_accepted() -> None:
    """It has no library of its own that does this in Python: by hand, from its page."""
    stage = stage_of("shopify")
    digest = hmac.new(stage.source.secrets[0].encode(), stage.sample, hashlib.sha256)
    signature = base64.b64encode(digest.digest()).decode()
    for family in ("x-", ""):
        headers = {f"{family}shopify-hmac-sha256": signature, f"{family}shopify-topic": "orders/paid"}
        assert_accepted(stage, headers, stage.sample)
