"""The outermost layer of every request: its id, the headers that all answers have, HEAD, and the net under mistakes."""

import logging
import random
import re
from collections.abc import Awaitable, Iterable

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problems import internal_problem

LOG = logging.getLogger("makegood.api")

# What a client may name a request: printable, with nothing that could break a log line, and not a page long.
REQUEST_ID = re.compile(rb"[A-Za-z0-9._:+/=@-]{1,128}")

ALWAYS = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"same-origin"))

# The extension of ASGI that our server has: `scope["extensions"][WHOLE_ANSWER]["send"](status, lines, body)` sends an answer
# that is ready, all of it in one piece, and says whether it did; where not, it is sent as ASGI has it. The lines of its
# head are as they go over the wire, Content-Length among them, and nobody looks at them again.
WHOLE_ANSWER = "makegood.whole_answer"


class Edge:
    """ASGI middleware; it must stand before all others. What it wraps leaves the headers to it that all answers have."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope["headers"])
        scope.setdefault("state", {})["request_id"] = request_id
        if scope["method"] == "HEAD":
            scope, send = {**scope, "method": "GET"}, _without_body(send)
        started = False

        def send_with_headers(message: Message) -> Awaitable[None]:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message["headers"], *ALWAYS, (b"x-request-id", request_id.encode("ascii"))]
            return send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except ClientDisconnect:
            LOG.info("client_gone", extra={"request_id": request_id})
        except Exception:
            LOG.exception("request_failed", extra={"request_id": request_id})
            if started:
                raise
            await internal_problem(Request(scope))(scope, receive, send_with_headers)


def lines_of_all(scope: Scope) -> bytes:
    """Of an answer that goes out whole, the lines that this layer gives to all the others."""
    request_id: str = scope["state"]["request_id"]
    return b"%bx-request-id: %b\r\n" % (_ALWAYS_LINES, request_id.encode("ascii"))


def lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Headers as they go over the wire."""
    return b"".join([b"%b: %b\r\n" % header for header in headers])


_ALWAYS_LINES = lines(ALWAYS)


def new_request_id() -> str:
    """What a request is called where its client has not named it."""
    return f"{random.getrandbits(128):032x}"  # guards nothing; without a system call


def _request_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The client's own id for the request where it is a decent one, else a new one."""
    for name, value in headers:
        if name == b"x-request-id" and REQUEST_ID.fullmatch(value):
            return bytes(value).decode("ascii")
    return new_request_id()


def _without_body(send: Send) -> Send:
    """As `send`, of an answer to HEAD: what GET would have, but for the body."""

    def send_head(message: Message) -> Awaitable[None]:
        return send({**message, "body": b""} if message["type"] == "http.response.body" else message)

    return send_head
