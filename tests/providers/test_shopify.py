"""What is Shopify's alone: headers that nobody has signed."""

from dataclasses import replace

import pytest

from app.errors import SignatureInvalid
from app.providers.reading import Ignored, Unreadable
from tests.providers.events import sample, told
from tests.providers.stages import hear, signed, stage_of


def test_an_order_that_waits_for_its_money_is_not_paid_whatever_the_topic_says() -> None:
    """Trap: the topic is in a header, and no header is signed."""
    stage = stage_of("shopify")
    assert isinstance(told(stage, sample(stage) | {"financial_status": "pending"}), Ignored)
    assert told(stage, sample(stage), x_shopify_topic="orders/create") == Ignored("orders/create", "msg_1")


def test_an_order_that_does_not_tell_of_its_money_is_kept_for_a_human() -> None:
    stage = stage_of("shopify")
    assert isinstance(told(stage, {"id": 5, "name": "#5"}), Unreadable)


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
