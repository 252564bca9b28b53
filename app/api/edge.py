"""The outermost layer of every request: its id, the headers that all answers have, HEAD, and the net under mistakes."""

import logging
import random
import re

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problems import internal_problem

LOG = logging.getLogger("makegood.api")

# What a client may name a request: printable, with nothing that could break a log line, and not a page long.
REQUEST_ID = re.compile(rb"[A-Za-z0-9._:+/=@-]{1,128}")

ALWAYS = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"same-origin"))


class Edge:
    """ASGI middleware; it must stand before all others. What it wraps names its headers in lower case."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        head = scope["method"] == "HEAD"
        state = {**scope.get("state", {}), "request_id": request_id}
        inner = {**scope, "state": state, "method": "GET" if head else scope["method"]}
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                given = message["headers"]
                names = {name for name, _ in given}
                missing = [header for header in ALWAYS if header[0] not in names]
                message["headers"] = [*given, *missing, (b"x-request-id", request_id.encode("ascii"))]
            elif head and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        try:
            await self._app(inner, receive, send_with_headers)
        except ClientDisconnect:
            LOG.info("client_gone", extra={"request_id": request_id})
        except Exception:
            LOG.exception("request_failed", extra={"request_id": request_id})
            if started:
                raise
            await internal_problem(Request(inner))(inner, receive, send_with_headers)


def _request_id(scope: Scope) -> str:
    """The client's own id for the request where it is a decent one, else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and REQUEST_ID.fullmatch(value):
            return bytes(value).decode("ascii")
    return f"{random.getrandbits(128):032x}"  # guards nothing; without a system call
