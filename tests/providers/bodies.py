"""The body of a payment, and what is said of one that cannot be read."""

import json
from typing import Any

from app.providers import Delivery
from app.providers.reading import Reading, Unreadable

DELIVERY = Delivery("msg_1")
LARGEST = 2**63 - 1


def body(**changes: Any) -> bytes:
    """A payment's body with parts of its data replaced; None leaves a part out."""
    data = {"payment_id": "pay_1", "order_id": "order-1", "amount": 1999, "currency": "EUR"} | changes
    event = {"type": "payment.received", "timestamp": "2026-01-01T12:00:00Z", "data": data}
    data = {key: value for key, value in data.items() if value is not None}
    return json.dumps(event | {"data": data}).encode()


def unreadable(reading: Reading) -> str:
    assert isinstance(reading, Unreadable)
    assert reading.delivery_id == "msg_1"
    reading.detail.encode()  # it can be stored
    assert "\x00" not in reading.detail
    return reading.detail
