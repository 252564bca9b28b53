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


def body(tag: str, number: int) -> bytes:
    """What a webhook says: 137 bytes and the numbers."""
    return json.dumps(
        {
            "type": "payment.received",
            "data": {
                "payment_id": external_id(tag, number),
                "order_id": f"order-{tag}-{number}",
                "amount": 1999,
                "currency": "EUR",
            },
        }
    ).encode()


def requests(tag: str, count: int) -> Iterator[bytes]:
    """So many different webhooks, each as the bytes of its HTTP request, signed now."""
    now = str(int(time.time()))
    for number in range(count):
        said, delivery = body(tag, number), f"msg_{tag}_{number}"
        digest = hmac.digest(KEY, f"{delivery}.{now}.".encode() + said, hashlib.sha256)
        yield (
            f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"webhook-id: {delivery}\r\nwebhook-timestamp: {now}\r\n"
            f"webhook-signature: v1,{base64.b64encode(digest).decode()}\r\nContent-Length: {len(said)}\r\n\r\n"
        ).encode() + said
