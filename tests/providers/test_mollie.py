"""What is Mollie's alone: the shapes that its events have."""

import pytest

from app.errors import SignatureInvalid
from app.providers import Signed
from app.providers.reading import Ignored, Payment, Unreadable
from tests.providers.events import sample, told
from tests.providers.stages import hear, stage_of


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
