"""A source to verify and read with."""

from datetime import timedelta

import pytest

from app import providers
from app.settings import Source

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def source() -> Source:
    """A source of standard webhooks with one secret and the default fields."""
    return Source(
        name="shop",
        provider="standard-webhooks",
        secrets=(SECRET,),
        saga="purchase",
        tolerance=timedelta(minutes=5),
        identity="shop",
        fields=providers.provider("standard-webhooks").default_fields,
    )
