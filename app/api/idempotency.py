"""`Idempotency-Key`: an operator's call that is sent twice takes effect once, and is answered twice alike.

The answer is stored in the transaction of its effect (draft-ietf-httpapi-idempotency-key-header-07). A call that was
refused had no effect, and its answer is not kept: sent again, it is decided upon again.
"""

import hashlib
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from app.api import wire
from app.db.operator_requests import OperatorReceipt, OperatorRequests
from app.errors import IdempotencyKeyReused, InvalidRequest, NotAllowed, RevisionMoved
from app.saga.model import Json
from app.settings import ApiKey

REPLAYED = {"Idempotent-Replayed": "true"}

# Printable ASCII without the space, up to the length that the header is usually cut at. The draft puts it in quotes.
_KEY = re.compile(r'"?([!#-~]{1,255})"?')


@dataclass(frozen=True, slots=True)
class Call:
    """An operator's call that has a key.

    Args:
        fingerprint: of the request: its method, path, query and body.
    """

    api_key: str
    idempotency_key: str
    fingerprint: str

    def receipt(self, status: int, body: Json) -> OperatorReceipt:
        """The answer as it is to be kept."""
        return OperatorReceipt(self.api_key, self.idempotency_key, self.fingerprint, status, body)


# Does what is asked for, and keeps the receipt of its answer where the call has a key. Returns status and body.
Work = Callable[[Call | None], Awaitable[tuple[int, Json]]]


async def once(requests: OperatorRequests, request: Request, key: ApiKey, body: Json, work: Work) -> Response:
    """Answers an operator's call, from what was stored where it was answered before.

    Raises:
        IdempotencyKeyReused: the key came with another request before.
        IdempotencyKeyInUse: the first request with it is still running.
        InvalidRequest: it is no key.
    """
    call = _call(request, key, body)
    if call is None:
        return _reply(*await work(None))
    with requests.running(call.api_key, call.idempotency_key):
        stored = await _stored(requests, call)
        if stored is not None:
            return stored
        try:
            return _reply(*await work(call))
        except (NotAllowed, RevisionMoved):
            # Another process may have answered this very call meanwhile: what refuses it now is its own effect.
            stored = await _stored(requests, call)
            if stored is not None:
                return stored
            raise


async def _stored(requests: OperatorRequests, call: Call) -> Response | None:
    receipt = await requests.find(call.api_key, call.idempotency_key)
    if receipt is None:
        return None
    if receipt.fingerprint != call.fingerprint:
        raise IdempotencyKeyReused("this Idempotency-Key came with another request before")
    return _reply(receipt.status, receipt.body, replayed=True)


def _reply(status: int, body: Json, *, replayed: bool = False) -> Response:
    return wire.respond(body, status, {**wire.pointing(body), **(REPLAYED if replayed else {})})


def _call(request: Request, key: ApiKey, body: Json) -> Call | None:
    given = request.headers.get("idempotency-key")
    if given is None:
        return None
    found = _KEY.fullmatch(given.strip())
    if found is None:
        fault = "1 to 255 printable ASCII characters without spaces"
        raise InvalidRequest("the Idempotency-Key cannot be used", [("Idempotency-Key", fault)])
    said = json.dumps([request.method, request.url.path, request.url.query, body], sort_keys=True)
    return Call(key.name, found[1], hashlib.sha256(said.encode()).hexdigest())
