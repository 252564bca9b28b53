"""What is Square's alone: its states, and the URL that it signs."""

from dataclasses import replace
from typing import Any

import pytest

from app.errors import SignatureInvalid
from app.providers.reading import Ignored, Unreadable
from tests.providers.events import sample, told
from tests.providers.stages import hear, signed, stage_of


@pytest.mark.parametrize("status", ["APPROVED", "PENDING", "CANCELED", "FAILED"])
def test_square_tells_of_other_states_too(status: str) -> None:
    stage = stage_of("square")
    event = sample(stage)
    event["data"]["object"]["payment"]["status"] = status
    assert isinstance(told(stage, event), Ignored)


def test_a_payment_without_a_state_is_kept_for_a_human() -> None:
    stage = stage_of("square")
    event = sample(stage)
    event["data"]["object"]["payment"]["status"] = None
    reading = told(stage, event)
    assert isinstance(reading, Unreadable)
    assert "nothing tells whether it was received" in reading.detail


def test_squares_url_is_part_of_what_is_signed() -> None:
    stage = stage_of("square")
    options: Any = stage.source.options
    slash = replace(stage.source, options=replace(options, url=options.url + "/"))
    with pytest.raises(SignatureInvalid):
        hear(stage.source, signed(slash, stage.sample))
