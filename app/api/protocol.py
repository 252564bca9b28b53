"""The HTTP of the server's sockets: uvicorn's own, with an end to how much of a request's head is read, and to how long."""

import asyncio
import logging
import re
from functools import partial
from typing import Any, cast
from weakref import ReferenceType, ref

from starlette.exceptions import HTTPException
from starlette.requests import Request
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from app.api.edge import ALWAYS, WHOLE_ANSWER, lines, new_request_id
from app.api.problems import framework_problem

LOG = logging.getLogger("makegood.api")

# Bytes before the body. Senders of webhooks need some two thousand; other servers stop between 8 and 64 KiB.
LARGEST_HEAD = 65_536

# Seconds in which a request must have come, head and body: a mebibyte at 50 kB/s. Who drips it holds room that others need.
RECEIVE_TIMEOUT = 20.0

# Some programs offer HTTP/2 with their first request (`Upgrade: h2c`). A server may ignore that (RFC 9110, 7.8); the parser
# would take the body for the other protocol's, and a good signature would fail over no body.
# So the line is left out of every head of a connection; in a body it stays.
_UPGRADE = b"upgrade:"
# Such a line, or what has come of it: the end of what came may be anywhere in it.
_OFFERS = re.compile(
    rb"^(?:upgrade:[^\n]*\n?|(?:%b)\Z)" % b"|".join(_UPGRADE[:size] for size in range(1, len(_UPGRADE))),
    re.IGNORECASE | re.MULTILINE,
)

# What the head of an answer begins with, and that of one which only says that the body may come.
_HEAD = b"HTTP/1.1 "
_INTERIM = b"HTTP/1.1 1"


class OneWrite:
    """A transport that keeps the head of an answer until the body comes: together they are one call of the system.

    Each write goes to the system at once, and one is a tenth of all that a webhook costs. An answer without a body is
    complete when its head is written, and is sent by `flush`.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""
        self.is_closing = transport.is_closing  # asked for with each request

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Sends what comes, with the head before it; a head waits for what comes behind it."""
        if not self._head and data.startswith(_HEAD) and not data.startswith(_INTERIM):
            self._head = data
            return
        head, self._head = self._head, b""
        self._transport.write(head + data)

    def flush(self) -> None:
        """Sends a head behind which nothing comes."""
        if self._head:
            self.write(b"")

    def close(self) -> None:
        """Sends what is kept, and closes."""
        self.flush()
        self._transport.close()


class BoundedProtocol(HttpToolsProtocol):
    """Turns away a request whose headers do not end, which the parser would keep all, and one that does not come in time.

    A request that comes in one piece needs no timer; most do.
    """

    _head = 0
    _in_head = True  # also between two requests
    _coming = True
    _over = False  # whether nothing more is read
    _mixed = False  # whether what is being read has the end of another request in it
    _in_line = False  # whether what comes next is the middle of a line
    _kept = b""  # the beginning of a line that may be one to leave out
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody has connected."""
        self._out = OneWrite(transport)
        super().connection_made(cast("asyncio.Transport", self._out))

    def on_response_complete(self) -> None:
        """An answer is written."""
        self._out.flush()
        super().on_response_complete()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._head, self._in_head, self._coming = 0, True, True

    def on_headers_complete(self) -> None:
        """Its head is read."""
        self._in_head = False
        super().on_headers_complete()
        # By a weak reference: the cycle has the scope, and what refers to itself lives until the collector comes.
        self.scope["extensions"] = {WHOLE_ANSWER: {"send": partial(self._answer, ref(self.cycle))}}

    def on_message_complete(self) -> None:
        """All of it has come."""
        self._coming, self._in_head, self._mixed = False, True, True
        self._stop_timer()
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        """Some of it has come."""
        if self._over:
            return
        self._mixed = False
        if self._kept:
            data, self._kept = self._kept + data, b""
        self._feed(data)
        if self._coming and not self.transport.is_closing():
            self._wait_for_more(0 if self._mixed else len(data))

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more comes."""
        self._stop_timer()
        super().connection_lost(exc)
        if self.scope is not None:
            self.scope.pop("extensions", None)  # which lead back here

    def _answer(self, of: ReferenceType[RequestResponseCycle], status: int, ready: bytes, body: bytes) -> bool:
        """Sends a whole answer, as `WHOLE_ANSWER` says. It leaves the cycle as an answer in two messages does."""
        cycle = of()
        if cycle is None:
            return True
        if self.transport.is_closing():
            cycle.disconnected = True  # uvicorn says so to the last one alone, where several were sent ahead
        if cycle.disconnected:
            return True
        if cycle.response_started or self.flow.write_paused or not cycle.keep_alive:
            return False
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        self._out.write(b"%b%b%b\r\n%b" % (STATUS_LINE[status], lines(cycle.default_headers), ready, body))
        cycle.message_event.set()
        cycle.on_response()
        return True

    def _feed(self, data: bytes) -> None:
        """Gives the parser what has come, without the lines of heads that offer another protocol."""
        lower, in_line = data.lower(), self._in_line
        rest = lower[lower.rfind(b"\n") + 1 :]
        self._in_line = rest != b""
        if _UPGRADE not in lower and not (rest and _UPGRADE.startswith(rest)):  # which few have
            super().data_received(data)
            return
        fed = 0
        for line in _OFFERS.finditer(data):
            if in_line and line.start() == 0:
                continue  # the middle of a line begins none
            super().data_received(data[fed : line.start()])
            if self._over:
                return
            fed = line.start()
            if self._in_head and self._coming:  # as what was fed has told
                fed = line.end()
                if not line[0].endswith(b"\n"):  # it is looked at with what comes behind it
                    self._kept, self._in_line = line[0], False
        super().data_received(data[fed:])

    def _wait_for_more(self, size: int) -> None:
        if self._in_head:
            self._head += size
            if self._head > LARGEST_HEAD:
                self._give_up(431)
                return
        if self._timer is None:
            self._timer = self.loop.call_later(RECEIVE_TIMEOUT, self._late)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        self._timer = None
        cycle: RequestResponseCycle | None = self.cycle  # of the last request whose head is read, if there was one
        waits = cycle is not None and self._in_head and not cycle.response_complete
        if waits or self.pipeline or self.flow.read_paused:
            # Its turn to be answered has not come, or we do not read: that is not the sender's delay.
            self._timer = self.loop.call_later(RECEIVE_TIMEOUT, self._late)
        elif cycle is None or self._in_head or not cycle.response_started:
            self._refuse(408)
        else:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """What has come is no HTTP."""
        del msg
        self._give_up(400)

    def _give_up(self, status: int) -> None:
        """Reads no more. Whoever waits for the answer to something before gets that, and no other."""
        self._over = True
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete and self._in_head:
            cycle.keep_alive = False
            self.flow.pause_reading()
        elif not self.transport.is_closing():
            self._refuse(status)

    def _refuse(self, status: int) -> None:
        """Answers instead of the application, which finds its client gone."""
        request_id = new_request_id()
        if not self._in_head:
            self.cycle.disconnected = True
            request_id = self.scope["state"].get("request_id", request_id)
        LOG.info("request_refused", extra={"request_id": request_id, "status": status})
        request = Request({"type": "http", "state": {"request_id": request_id}})
        said = framework_problem(request, HTTPException(status))
        ours = (*ALWAYS, (b"x-request-id", request_id.encode("ascii")), (b"connection", b"close"))
        head = lines((*self.server_state.default_headers, *said.raw_headers, *ours))
        self.transport.write(b"%b%b\r\n%b" % (STATUS_LINE[status], head, bytes(said.body)))
        self.transport.close()
