"""What is Razorpay's alone: two events of one payment, and its notes."""

from dataclasses import replace

from app.providers.reading import Payment
from tests.providers.events import sample, told
from tests.providers.stages import stage_of


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
