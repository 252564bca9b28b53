"""The webhooks that every side gets, and the key that signs them (Standard Webhooks: HMAC-SHA256 over id, time and body)."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator

KEY = b"the bench's own signing key"
SECRET = "whsec_" + base64.b64encode(KEY).decode()
PATH = "/webhooks/shop"


def external_id(tag: str, number: int) -> str:
    """The provider's id of one payment."""
    return f"{tag}_{number}"


def body(tag: str, number: int, at: float | None = None) -> bytes:
    """What a webhook says: 137 bytes and the numbers, and when the payment occurred (seconds since 1970), where that is told."""
    said = {
        "type": "payment.received",
        "data": {
            "payment_id": external_id(tag, number),
            "order_id": f"order-{tag}-{number}",
            "amount": 1999,
            "currency": "EUR",
        },
    }
    return json.dumps(said if at is None else {**said, "timestamp": at}).encode()


def request(delivery: str, said: bytes, now: str) -> bytes:
    """The bytes of a webhook's HTTP request, signed.

    Args:
        delivery: the id of what is delivered.
        now: seconds since 1970.
    """
    digest = hmac.digest(KEY, f"{delivery}.{now}.".encode() + said, hashlib.sha256)
    return (
        f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"webhook-id: {delivery}\r\nwebhook-timestamp: {now}\r\n"
        f"webhook-signature: v1,{base64.b64encode(digest).decode()}\r\nContent-Length: {len(said)}\r\n\r\n"
    ).encode() + said


def requests(tag: str, count: int) -> Iterator[bytes]:
    """So many different webhooks, each as the bytes of its HTTP request, signed now."""
    now = str(int(time.time()))
    for number in range(count):
        yield request(f"msg_{tag}_{number}", body(tag, number), now)
