"""What is one provider's alone: the traps that its page tells of."""

import base64
import json
from dataclasses import replace
from typing import Any

import pytest

from app import providers
from app.errors import MalformedBody, SignatureInvalid
from app.providers import Signed
from app.providers.reading import Ignored, Payment, Reading, Unreadable
from app.settings import Mode
from tests.providers.stages import NOW, Stage, hear, key_and_certificate, signed, stage_of


def told(stage: Stage, event: Any, **headers: str) -> Reading:
    """What a source makes of an event that is signed as it should be, with other hints in the headers."""
    sent = signed(stage.source, json.dumps(event).encode())
    others = {name.replace("_", "-"): value for name, value in headers.items()}
    [reading] = hear(stage.source, replace(sent, headers={**sent.headers, **others}))
    return reading


def sample(stage: Stage) -> Any:
    return json.loads(stage.sample)


# --- Stripe ---


def test_a_charge_is_read_as_its_payment_intent() -> None:
    stage = stage_of("stripe")
    event = sample(stage)
    intent = told(stage, event)
    charge = {"id": "ch_1", "payment_intent": "pi_3Makegood0001", "amount": 1999, "amount_captured": 1999}
    rest = {"currency": "eur", "metadata": {"order_id": "order-1001"}}
    event |= {"id": "evt_2", "type": "charge.succeeded", "data": {"object": charge | rest}}
    assert told(stage, event) == Ignored("charge.succeeded", "evt_2")
    both = frozenset({"charge.succeeded", "payment_intent.succeeded"})
    asked = replace(stage, source=replace(stage.source, fields=replace(stage.source.fields, payment_events=both)))
    second = told(asked, event)
    assert isinstance(intent, Payment)
    assert isinstance(second, Payment)
    said = [(each.external_id, each.order_id, each.amount, each.currency) for each in (intent, second)]
    assert said == [("pi_3Makegood0001", "order-1001", 1999, "EUR")] * 2


def test_what_was_received_counts_and_not_what_was_asked_for() -> None:
    stage = stage_of("stripe")
    event = sample(stage)
    event["data"]["object"] |= {"amount": 5000, "amount_received": 3000}
    reading = told(stage, event)
    assert isinstance(reading, Payment)
    assert reading.amount == 3000


def test_an_event_of_the_test_mode_is_ignored_by_a_live_source_and_taken_by_a_test_source() -> None:
    stage = stage_of("stripe")
    event = sample(stage) | {"livemode": False}
    assert isinstance(told(stage, event), Ignored)
    assert isinstance(told(replace(stage, source=replace(stage.source, mode=Mode.TEST)), event), Payment)


def test_a_thin_event_is_ignored() -> None:
    event = {"id": "evt_9", "object": "v2.core.event", "type": "v2.core.account.updated"}
    assert told(stage_of("stripe"), event) == Ignored("v2.core.account.updated", "evt_9")


def test_two_times_in_one_header_are_refused() -> None:
    """Trap: one reader takes the first, another the last."""
    stage = stage_of("stripe")
    header = signed(stage.source, stage.sample).headers["stripe-signature"]
    with pytest.raises(SignatureInvalid, match="must have one t=, not 2"):
        hear(stage.source, Signed({"stripe-signature": f"t=1,{header}"}, stage.sample))


# --- Adyen ---


def batch(*changes: dict[str, Any]) -> bytes:
    """A body with an item for each of the changes to the sample's item, signed."""
    stage = stage_of("adyen")
    [wrapped] = sample(stage)["notificationItems"]
    items = [{"NotificationRequestItem": {**wrapped["NotificationRequestItem"], **change}} for change in changes]
    return signed(stage.source, json.dumps({"live": "true", "notificationItems": items}).encode()).body


def test_each_item_of_a_batch_is_read_for_itself() -> None:
    body = batch({}, {"pspReference": "B"}, {"eventCode": "REPORT_AVAILABLE"}, {"success": "false"}, {"amount": None})
    payment, second, report, refused, unreadable = hear(stage_of("adyen").source, Signed({}, body))
    assert isinstance(payment, Payment)
    assert isinstance(second, Payment)
    assert (payment.external_id, second.external_id) == ("NC6HT9CRT65ZGN82", "B")
    assert second.delivery_id == "B.AUTHORISATION.true"
    assert report == Ignored("REPORT_AVAILABLE", "NC6HT9CRT65ZGN82.REPORT_AVAILABLE.true")
    assert refused == Ignored("AUTHORISATION", "NC6HT9CRT65ZGN82.AUTHORISATION.false")
    assert isinstance(unreadable, Unreadable)


def test_what_stands_beside_the_items_of_a_batch_is_not_kept_with_each() -> None:
    """Trap: nobody has signed it, and it would be stored as often as there are items."""
    provider = providers.provider("adyen")
    envelope = json.loads(batch({}, {"pspReference": "B"}))
    for live, kept in (("true", {"live": "true"}), (False, {"live": False}), ("x" * 999, {}), ([], {}), (None, {})):
        body = json.dumps(envelope | {"live": live, "more": "x" * 999}).encode()
        parts = [json.loads(message) for message in provider.messages(body)]
        assert [{**part, "notificationItems": 1} for part in parts] == [{**kept, "notificationItems": 1}] * 2


def test_a_batch_in_which_a_key_comes_twice_is_kept_whole() -> None:
    body = batch({}, {"pspReference": "B"})[:-1] + b', "a": 1, "a": 1}'
    [reading] = hear(stage_of("adyen").source, Signed({}, body))
    assert isinstance(reading, Unreadable)
    assert reading.detail == 'the key "a" comes twice in one object'


@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_item_that_is_forged_or_unsigned_refuses_all(place: int) -> None:
    """Trap: the library's own check of a body looks at the first item alone."""
    stage = stage_of("adyen")
    changes: list[dict[str, Any]] = [{"merchantReference": "mine"}, {"additionalData": {}}, {"additionalData": None}]
    for change in changes:
        event = json.loads(batch({}, {"pspReference": "B"}, {"pspReference": "C"}))
        event["notificationItems"][place]["NotificationRequestItem"] |= change
        with pytest.raises(SignatureInvalid):
            hear(stage.source, Signed({}, json.dumps(event).encode()))


@pytest.mark.parametrize(
    "text", ["{}", "[]", "1", '{"notificationItems": []}', '{"notificationItems": [1]}', '{"notificationItems": [{}]}']
)
def test_a_body_without_items_is_refused(text: str) -> None:
    stage = stage_of("adyen")
    with pytest.raises(SignatureInvalid):
        hear(stage.source, Signed({}, text.encode()))
    with pytest.raises((SignatureInvalid, MalformedBody)):
        signed(stage.source, text.encode())


def test_an_item_of_another_account_is_refused() -> None:
    body = batch({"merchantAccountCode": "Other"})
    with pytest.raises(SignatureInvalid, match="another merchant account"):
        hear(stage_of("adyen").source, Signed({}, body))


def test_a_reference_that_is_null_is_signed_as_nothing() -> None:
    """Trap: as the text None it fails with one library and passes with another."""
    stage = stage_of("adyen")
    event = json.loads(batch({}))
    event["notificationItems"][0]["NotificationRequestItem"]["originalReference"] = None
    assert isinstance(hear(stage.source, Signed({}, json.dumps(event).encode()))[0], Payment)


def test_a_colon_that_was_moved_makes_no_payment() -> None:
    """Trap: nothing is escaped, so that a signature holds for other fields too."""
    stage = stage_of("adyen")
    event = json.loads(batch({"merchantReference": "ShopECOM:order-1"}))
    item = event["notificationItems"][0]["NotificationRequestItem"]
    [honest] = hear(stage.source, Signed({}, json.dumps(event).encode()))
    item |= {"originalReference": ":ShopECOM", "merchantReference": "order-1"}
    [moved] = hear(stage.source, Signed({}, json.dumps(event).encode()))
    for reading in (honest, moved):
        assert isinstance(reading, Unreadable)
        assert "colon" in reading.detail


def test_a_capture_is_of_the_payment_it_refers_to() -> None:
    stage = stage_of("adyen")
    captures = replace(stage.source, fields=replace(stage.source.fields, payment_events=frozenset({"CAPTURE"})))
    body = batch({"eventCode": "CAPTURE", "pspReference": "CAP1", "originalReference": "PAY1"})
    [reading] = hear(captures, Signed({}, body))
    assert isinstance(reading, Payment)
    assert reading.external_id == "PAY1"


def test_a_test_item_is_ignored_by_a_live_source() -> None:
    body = batch({}).replace(b'"live": "true"', b'"live": "false"')
    assert isinstance(hear(stage_of("adyen").source, Signed({}, body))[0], Ignored)


# --- PayPal ---


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


# --- Square, Mollie, Razorpay, Shopify ---


@pytest.mark.parametrize("status", ["APPROVED", "PENDING", "CANCELED", "FAILED", None])
def test_square_tells_of_other_states_too(status: str | None) -> None:
    stage = stage_of("square")
    event = sample(stage)
    event["data"]["object"]["payment"]["status"] = status
    assert isinstance(told(stage, event), Ignored)


def test_squares_url_is_part_of_what_is_signed() -> None:
    stage = stage_of("square")
    options: Any = stage.source.options
    slash = replace(stage.source, options=replace(options, url=options.url + "/"))
    with pytest.raises(SignatureInvalid):
        hear(stage.source, signed(slash, stage.sample))


def test_a_simple_event_of_mollie_has_no_amount_and_is_kept() -> None:
    stage = stage_of("mollie")
    event = sample(stage)
    del event["_embedded"]
    reading = told(stage, event)
    assert isinstance(reading, Unreadable)
    assert "amount" in reading.detail


def test_mollies_payment_may_be_the_body_itself() -> None:
    stage = stage_of("mollie")
    bare = sample(stage)["_embedded"]["entity"]
    reading = told(stage, bare)
    assert isinstance(reading, Payment)
    assert (reading.external_id, reading.amount, reading.delivery_id) == ("tr_WDqYK6vllg", 1999, None)
    assert told(stage, bare | {"status": "authorized"}) == Ignored("payment.authorized", None)


def test_mollies_classic_form_is_refused() -> None:
    with pytest.raises(SignatureInvalid, match="x-mollie-signature is missing"):
        hear(stage_of("mollie").source, Signed({}, b"id=tr_WDqYK6vllg"))


def test_razorpays_order_event_is_the_same_payment() -> None:
    stage = stage_of("razorpay")
    both = replace(stage.source.fields, payment_events=frozenset({"payment.captured", "order.paid"}))
    asked = replace(stage, source=replace(stage.source, fields=both))
    captured = told(asked, sample(stage))
    event = sample(stage) | {"event": "order.paid"}
    event["payload"]["order"] = {"entity": {"id": "order_DESlLckIVRkHWj", "receipt": "r-1", "amount": 1999}}
    order = told(asked, event)
    assert isinstance(captured, Payment)
    assert replace(captured, event_type="order.paid") == order


def test_razorpays_notes_may_be_an_empty_list() -> None:
    stage = stage_of("razorpay")
    event = sample(stage)
    event["payload"]["payment"]["entity"]["notes"] = []
    reading = told(stage, event)
    assert isinstance(reading, Payment)
    assert reading.order_id == "order_DESlLckIVRkHWj"


def test_an_order_that_waits_for_its_money_is_not_paid_whatever_the_topic_says() -> None:
    """Trap: the topic is in a header, and no header is signed."""
    stage = stage_of("shopify")
    assert isinstance(told(stage, sample(stage) | {"financial_status": "pending"}), Ignored)
    assert told(stage, sample(stage), x_shopify_topic="orders/create") == Ignored("orders/create", "msg_1")


def test_shopify_names_no_event_without_a_topic() -> None:
    stage = stage_of("shopify")
    sent = signed(stage.source, stage.sample)
    headers = {name: value for name, value in sent.headers.items() if name != "x-shopify-topic"}
    with pytest.raises(SignatureInvalid, match="x-shopify-topic is missing"):
        hear(stage.source, replace(sent, headers=headers))


def test_a_test_order_is_ignored_by_a_live_source() -> None:
    stage = stage_of("shopify")
    assert isinstance(told(stage, sample(stage) | {"test": True}), Ignored)


def test_a_delivery_is_named_by_its_webhook_where_it_has_no_event() -> None:
    stage = stage_of("shopify")
    reading = told(stage, sample(stage), x_shopify_event_id="", x_shopify_webhook_id="b-1")
    assert reading.delivery_id == "b-1"


# --- HMAC ---


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
