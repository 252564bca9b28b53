"""A declared call becomes a request: where it goes, with which headers and body, and what of it is put on record."""

import base64
import random
import re
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit, urlunsplit
from uuid import UUID

from app.agents.document import RequestRefused, body_of, fill
from app.agents.redact import Redactor
from app.providers.refunds import Question
from app.saga import Sending
from app.saga.definition import LocalCall, RefundCall
from app.saga.model import Json
from app.settings import Agent

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})(?:-.*)?")
_SAMPLED = "01"

_OWN_HEADERS = {
    "Accept": "application/json",
    # What is not asked for need not be unpacked: a small answer cannot grow into a large one here.
    "Accept-Encoding": "identity",
    "User-Agent": f"makegood/{version('makegood')}",
}


# What may stand in a path and its query without being quoted, and the sign that quotes.
_PATH_SIGNS = "%/?:@!$&'()*+,;=[]"

# What `quote` would leave as it is, found sooner than it does.
_PLAIN_PATH = re.compile(r"[\w.~/-]*", re.ASCII)

# Beyond it, servers answer 414 or close the connection; it is a body in the wrong place.
LONGEST_URL = 64 * 1024  # characters

_PORTS = {"http": 80, "https": 443}


class Origin(NamedTuple):
    """Where an agent listens."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """The value of the header Host."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS.get(self.scheme) else f"{host}:{self.port}"


@dataclass(slots=True)  # frozen, it would cost three times as much to make
class Request:
    """One request to an agent. It is not changed once it is made.

    Args:
        url: as it is put on record, without credentials.
        body: as it is put on record, without credentials and cut to what is kept.
        target: the URL that is called.
        path: of the target, with its query.
        headers: what is sent; never on record, never shown.
        content: the bytes that are sent; None where the request has no body.
        keeps_headers: whether the headers of the answer are looked at.
    """

    agent: str
    method: str
    url: str
    body: Json
    target: str = field(repr=False)
    path: str = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    content: bytes | None = field(repr=False)
    keeps_headers: bool = False

    @property
    def recorded(self) -> dict[str, Json]:
        """What is put on record of it."""
        return {"method": self.method, "url": self.url, "body": self.body}


class Endpoint:
    """An agent as its requests see it: its address without credentials, its fixed headers, and what is secret of it."""

    def __init__(self, agent: Agent) -> None:
        parts = urlsplit(agent.base_url)
        userinfo, _, host = parts.netloc.rpartition("@")
        headers = dict(agent.headers)
        names = {name.lower() for name in headers}
        if userinfo and "authorization" not in names:
            headers["Authorization"] = f"Basic {base64.b64encode(unquote(userinfo).encode()).decode()}"
        self.name = agent.name
        self.origin = Origin(parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0))
        self.base = urlunsplit((parts.scheme, host, "", "", ""))
        self.path = parts.path.rstrip("/")
        self.redactor = Redactor(headers, (agent.oauth.client_secret,) if agent.oauth else ())
        self.shown = self.redactor.text(self.base)
        own = {"Host": self.origin.authority, **_OWN_HEADERS}
        self._headers = {name: value for name, value in own.items() if name.lower() not in names} | headers
        self._has_content_type = "content-type" in names

    def headers(self, *, content: bool) -> dict[str, str]:
        """The headers that every request to the agent has."""
        if content and not self._has_content_type:
            return {**self._headers, "Content-Type": "application/json"}
        return dict(self._headers)


def render(endpoint: Endpoint, sending: Sending, document: dict[str, Json], traceparent: str | None) -> Request:
    """The request of a declared call.

    Args:
        document: the call's document; path and body are made from it.
        traceparent: the operation's; its trace goes on in the call.

    Raises:
        RequestRefused: it cannot be made from the document, so it must never be sent.
        TypeError: the call is a local one.
    """
    call = sending.call
    if isinstance(call, LocalCall | RefundCall):
        raise TypeError("a local step is run, not sent; and what a refund protocol sends its provider says")
    path = _path(endpoint, fill(call.path, document))
    value, content = (None, None) if call.method == "GET" else body_of(call.body, document)
    headers = endpoint.headers(content=content is not None)
    if sending.key is not None:
        headers["Idempotency-Key"] = sending.key
    headers["Makegood-Attempt"] = str(sending.attempt)
    headers["traceparent"] = next_traceparent(traceparent, sending.operation.id)
    return Request(
        agent=endpoint.name,
        method=call.method,
        url=endpoint.shown + endpoint.redactor.text(path),
        body=None if content is None else endpoint.redactor.body(value, content),
        target=endpoint.base + path,
        path=path,
        headers=headers,
        content=content,
    )


def render_question(endpoint: Endpoint, question: Question, attempt: int, traceparent: str) -> Request:
    """The request of what a provider wants asked, as a call of an operation.

    Args:
        traceparent: of this call.

    Raises:
        RequestRefused: its path makes no URL.
    """
    request = request_of(endpoint, question)
    request.headers["Makegood-Attempt"] = str(attempt)
    request.headers["traceparent"] = traceparent
    return request


def request_of(endpoint: Endpoint, question: Question) -> Request:
    """The request of what a provider wants asked. Its headers win over those of the agent.

    Raises:
        RequestRefused: its path makes no URL.
    """
    path = _path(endpoint, question.path)
    own = {name.lower() for name in question.headers}
    headers = endpoint.headers(content=question.content is not None)
    headers = {name: value for name, value in headers.items() if name.lower() not in own} | dict(question.headers)
    return Request(
        agent=endpoint.name,
        method=question.method,
        url=endpoint.shown + endpoint.redactor.text(path),
        body=None if question.content is None else endpoint.redactor.body(question.recorded, question.content),
        target=endpoint.base + path,
        path=path,
        headers=headers,
        content=question.content,
        keeps_headers=True,
    )


def _path(endpoint: Endpoint, path: str) -> str:
    """The path of a request, behind that of its agent's base URL. Raises RequestRefused where it makes no URL."""
    whole = endpoint.path + path
    if not _PLAIN_PATH.fullmatch(whole):
        whole = quote(whole, safe=_PATH_SIGNS)
    if len(endpoint.base) + len(whole) > LONGEST_URL:
        raise RequestRefused(f"the path makes no URL: it is longer than {LONGEST_URL} characters")
    return whole


def next_traceparent(traceparent: str | None, operation_id: UUID) -> str:
    """The W3C trace context of one call: the operation's trace, and a span of the call's own.

    Where the payment came without one, the trace is the operation's id, so that all its calls are in one trace.
    """
    found = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    trace, flags = (found[1], found[2]) if found else (operation_id.hex, _SAMPLED)
    span = random.getrandbits(64) or 1  # it guards nothing, but must be none of zeros alone
    return f"00-{trace}-{span:016x}-{flags}"
