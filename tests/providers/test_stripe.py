"""What is Stripe's alone: the traps that its page tells of."""

from dataclasses import replace

import pytest

from app.errors import SignatureInvalid
from app.providers import Signed
from app.providers.reading import Ignored, Payment
from app.settings import Mode
from tests.providers.events import sample, told
from tests.providers.stages import hear, signed, stage_of


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
