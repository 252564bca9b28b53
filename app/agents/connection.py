"""One connection to an agent: it writes a request once, and reads the one answer to it.

A connection carries one call at a time. Whatever is not exactly as it should be ends it: a connection that is closed too
early costs a handshake, and one that is used too long could give a call the answer to another one.
"""

import asyncio
import select
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import cast

import httptools

from app.agents.answer import LARGEST_RESULT

# Of one answer, in bytes: names and values of its headers; all that comes over the wire for it. The second bounds what no
# one looks at, such as chunk extensions or interim answers, and leaves room for a body that comes in chunks of one byte.
LARGEST_HEAD = 64 * 1024
LARGEST_ANSWER = 1024 * 1024

# As plain numbers: a member of HTTPStatus costs more to look up than all that is done with it here.
_SWITCHING_PROTOCOLS = int(HTTPStatus.SWITCHING_PROTOCOLS)
_OK = int(HTTPStatus.OK)


class AnswerBroken(Exception):
    """The answer did not come to its end, or is no HTTP."""


@dataclass(slots=True)
class Coming:
    """How far a call has come.

    Args:
        sent: whether any of the request may have gone out.
        sent_at: when it was written, by the event loop's clock; None where that is not known.
        status: of the answer, once its headers have come.
        body: what has come of it.
        largest: bytes of a body that are wanted; of one that goes on, a little more is read.
        headers: those of the answer, by their names in lower case; None where nobody looks at them.
    """

    sent: bool = True
    sent_at: float | None = None
    status: int | None = None
    retry_after: str | None = None
    body: bytearray = field(default_factory=bytearray)
    largest: int = LARGEST_RESULT
    headers: dict[str, str] | None = None

    def clear(self) -> None:
        """Forgets the answer: the request is sent once more."""
        self.sent_at = self.status = self.retry_after = None
        self.body.clear()
        if self.headers is not None:
            self.headers.clear()


class Connection(asyncio.Protocol):
    """A connection and the parser of what comes over it.

    Attributes:
        loop: the event loop that it belongs to.
        usable: whether a request may be written to it.
        lost: is done when the connection is closed on our side too.
    """

    def __init__(self) -> None:
        self.loop = loop = asyncio.get_running_loop()  # looked up once: that costs a system call
        self.usable = False
        self._poll: select.poll | None = None
        self.lost: asyncio.Future[None] = loop.create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[None] = loop.create_future()  # done: nobody has asked for anything
        self._waiter.set_result(None)
        self._begin(Coming(), bodiless=False)

    def ask(self, request: bytes, coming: Coming, *, bodiless: bool) -> asyncio.Future[None]:
        """Writes a request, and is done when its answer is whole, or larger than anyone wants to read.

        The connection is usable again afterwards if nothing is left over on either side. Where the caller does not wait
        until then, it must abort the connection.

        Args:
            bodiless: whether an answer to the request never has a body.

        Raises:
            AnswerBroken: from the future; the connection is closed.
            OSError: likewise.
        """
        self.usable = False
        self._begin(coming, bodiless=bodiless)
        self._waiter = self.loop.create_future()
        coming.sent_at = self.loop.time()
        self._transport.write(request)
        return self._waiter

    def abort(self) -> None:
        """Closes it at once, whatever is still to be written or read."""
        self.usable = False
        self._transport.abort()

    def is_quiet(self) -> bool:
        """Whether it is usable and nothing has come over it meanwhile, not even its end.

        What the event loop has not read yet counts as well: an agent that closes an idle connection would otherwise
        leave a call unknown that need not be.
        """
        return self.usable and not (self._poll and self._poll.poll(0))

    def _begin(self, coming: Coming, *, bodiless: bool) -> None:
        self._coming = coming
        self._bodiless = bodiless
        self._received = 0  # bytes over the wire
        self._head = 0  # bytes of names and values of headers
        self._interim = False
        self._delimited = False  # whether the answer says itself where it ends
        self._whole = False
        self._kept_alive = False

    # --- what the event loop says ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open; where it is encrypted, the other side is who it should be."""
        self._transport = cast("asyncio.Transport", transport)
        if hasattr(select, "poll"):  # not on Windows; there the end of an idle connection may be noticed too late
            self._poll = select.poll()
            self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        self.usable = True

    def data_received(self, data: bytes) -> None:
        """Something has come."""
        if self._waiter.done():  # nobody has asked, so it answers nothing
            self.abort()
            return
        self._received += len(data)
        try:
            # The parser does not tell where an answer ended. One that is whole without the last byte has more behind it.
            self._parser.feed_data(data[:-1])
            if self._whole:
                self._kept_alive = False
            else:
                self._parser.feed_data(data[-1:])
        except httptools.HttpParserError as error:
            self._kept_alive = False
            if not self._whole:
                self._broken(AnswerBroken(f"the answer is no HTTP: {error.__context__ or error}"))
                return
        if self._whole:
            self._ended()
        elif self._received > LARGEST_ANSWER + self._coming.largest:
            self._broken(AnswerBroken("the answer is too large"))

    def eof_received(self) -> None:
        """Nothing more will come."""
        self.usable = False
        if self._coming.status is not None and not self._delimited and not self._waiter.done():
            self._ended()
        else:
            self._broken(AnswerBroken("the connection was closed"))

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed, by whomever."""
        self.usable = False
        self._broken(exc or AnswerBroken("the connection was closed"))
        self.lost.set_result(None)

    def _ended(self) -> None:
        self.usable = self._kept_alive and self._transport.get_write_buffer_size() == 0
        if not self.usable:
            self._transport.abort()
        self._waiter.set_result(None)

    def _broken(self, error: Exception) -> None:
        if not self._waiter.done():
            self._waiter.set_exception(error)
            self.abort()

    # --- what the parser says; what is raised here, the parser raises as an error of its own ---

    def on_message_begin(self) -> None:
        """An answer begins."""
        if self._whole:
            raise AnswerBroken("more than one answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header has come, or a trailer."""
        self._head += len(name) + len(value)
        if self._head > LARGEST_HEAD:
            raise AnswerBroken("its headers are too large")
        if self._coming.status is not None:  # behind the body; nothing that is said there is for us
            return
        name = name.lower()
        if self._coming.headers is not None:
            self._coming.headers.setdefault(name.decode("latin-1"), value.decode("latin-1"))
        if name == b"content-length":
            self._delimited = True
        elif name == b"transfer-encoding":
            if value.lower() != b"chunked":
                raise AnswerBroken("a transfer encoding that was not asked for")
            self._delimited = True
        elif name == b"retry-after":
            said = value.decode("latin-1")
            before = self._coming.retry_after
            self._coming.retry_after = said if before is None else f"{before}, {said}"

    def on_headers_complete(self) -> None:
        """The status and all headers have come."""
        status = self._parser.get_status_code()
        if status == _SWITCHING_PROTOCOLS:
            raise AnswerBroken("another protocol that was not asked for")
        self._interim = status < _OK
        if self._interim:
            self._coming.retry_after = None
            if self._coming.headers is not None:
                self._coming.headers.clear()
            self._delimited = False
            return
        self._coming.status = status
        self._whole = self._bodiless

    def on_body(self, body: bytes) -> None:
        """A part of the body has come."""
        if not self._whole:
            self._coming.body += body
            self._whole = len(self._coming.body) > self._coming.largest

    def on_message_complete(self) -> None:
        """The answer is whole, or it was one that says that another one follows."""
        if not self._interim and not self._whole:
            self._whole = True
            self._kept_alive = self._parser.should_keep_alive()
