"""The HTTP of the server's sockets: uvicorn's own, with an end to how much of a request's head is read."""

import re
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.api.wire import dump

# Bytes before the body. Senders of webhooks need some two thousand; other servers stop between 8 and 64 KiB.
LARGEST_HEAD = 65_536


# Some programs offer HTTP/2 with their first request (`Upgrade: h2c`). A server may ignore that (RFC 9110, 7.8); the parser
# would take the body for the other protocol's, and a good signature would fail over no body.
_UPGRADE = re.compile(rb"\r\nupgrade:[^\r\n]*(?=\r\n)", re.IGNORECASE)
_END_OF_HEAD = b"\r\n\r\n"


class BoundedProtocol(HttpToolsProtocol):
    """Turns a request away whose headers do not end: the parser alone would keep them all."""

    _head = 0
    _in_head = True

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._head, self._in_head = 0, True

    def on_headers_complete(self) -> None:
        """Its head is read."""
        self._in_head = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Some of it has come."""
        super().data_received(_without_upgrade(data) if self._in_head else data)
        if self._in_head and not self.transport.is_closing():
            self._head += len(data)
            if self._head > LARGEST_HEAD:
                self._refuse()

    def _refuse(self) -> None:
        status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        said = {"type": "about:blank", "title": status.phrase, "status": status, "detail": status.description}
        body = dump(said)
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\n"
            "Content-Type: application/problem+json\r\n"
            f"Content-Length: {len(body)}\r\n"
            "Connection: close\r\n\r\n"
        )
        self.transport.write(head.encode("ascii") + body)
        self.transport.close()


def _without_upgrade(data: bytes) -> bytes:
    """The beginning of a connection without the offer of another protocol in its first head."""
    head, end, rest = data.partition(_END_OF_HEAD)
    return _UPGRADE.sub(b"", head + end) + rest
