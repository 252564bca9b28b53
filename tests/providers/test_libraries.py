"""The providers' own libraries as judges: what they sign is accepted here, and what is signed here they accept."""

import base64
import hashlib
import hmac
import json
from typing import Any

import razorpay
import stripe
from Adyen.util import is_valid_hmac_notification
from square.utils.webhooks_helper import verify_signature

from app.clock import DatabaseClock
from app.providers import Signed
from app.providers.reading import Payment
from tests.providers.stages import NOW, Stage, hear, signed, stage_of

ODD = '{"note": "grün ☃ \\u00e9 \\" </x>"}'.encode()


def assert_accepted(stage: Stage, headers: dict[str, str], body: bytes) -> None:
    [reading] = hear(stage.source, Signed(headers, body), NOW)
    assert isinstance(reading, Payment)


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


def test_what_the_pages_of_mollie_and_shopify_say_is_accepted() -> None:
    """They have no library of their own that does this in Python: by hand, from their pages."""
    stage = stage_of("mollie")
    digest = hmac.new(stage.source.secrets[0].encode(), stage.sample, hashlib.sha256)
    for prefix in ("sha256=", ""):
        assert_accepted(stage, {"x-mollie-signature": prefix + digest.hexdigest()}, stage.sample)
    stage = stage_of("shopify")
    digest = hmac.new(stage.source.secrets[0].encode(), stage.sample, hashlib.sha256)
    signature = base64.b64encode(digest.digest()).decode()
    for family in ("x-", ""):
        headers = {f"{family}shopify-hmac-sha256": signature, f"{family}shopify-topic": "orders/paid"}
        assert_accepted(stage, headers, stage.sample)
