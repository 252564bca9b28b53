"""What is Adyen's alone: batches, items that are signed one by one, and colons."""

import json
from dataclasses import replace
from typing import Any

import pytest

from app import providers
from app.errors import MalformedBody, SignatureInvalid
from app.providers import Signed
from app.providers.reading import Ignored, Payment, Unreadable
from tests.providers.events import sample
from tests.providers.stages import hear, signed, stage_of


def batch(*changes: dict[str, Any]) -> bytes:
    """A body with an item for each of the changes to the sample's item, signed."""
    stage = stage_of("adyen")
    [wrapped] = sample(stage)["notificationItems"]
    items = [{"NotificationRequestItem": {**wrapped["NotificationRequestItem"], **change}} for change in changes]
    return signed(stage.source, json.dumps({"live": "true", "notificationItems": items}).encode()).body


def test_each_item_of_a_batch_is_read_for_itself() -> None:
    body = batch(
        {},
        {"pspReference": "B"},
        {"eventCode": "REPORT_AVAILABLE"},
        {"success": "false"},
        {"amount": None},
        {"success": None},
    )
    payment, second, report, refused, *unreadable = hear(stage_of("adyen").source, Signed({}, body))
    assert isinstance(payment, Payment)
    assert isinstance(second, Payment)
    assert (payment.external_id, second.external_id) == ("NC6HT9CRT65ZGN82", "B")
    assert second.delivery_id == "B.AUTHORISATION.true"
    assert report == Ignored("REPORT_AVAILABLE", "NC6HT9CRT65ZGN82.REPORT_AVAILABLE.true")
    assert refused == Ignored("AUTHORISATION", "NC6HT9CRT65ZGN82.AUTHORISATION.false")
    assert [type(each) for each in unreadable] == [Unreadable, Unreadable]


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
