"""The supplier: answers each purchase at once, and counts. `GET /stats` says how many calls came, under how many keys.

python -m bench.programs.supplier --port 9000
"""

import argparse
import asyncio
import json
from typing import ClassVar, cast

import uvloop

SEPARATOR = b"\r\n\r\n"
LENGTH = b"content-length:"
KEY = b"\r\nidempotency-key:"
CHUNKED = b"\r\ntransfer-encoding:"


def answer(body: bytes, status: bytes = b"200 OK") -> bytes:
    """An answer's bytes."""
    head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
    return head + body


BOUGHT = answer(b'{"ref":"bought-1"}')
NOT_UNDERSTOOD = answer(b"{}", b"501 Not Implemented")


class Supplier(asyncio.Protocol):
    """One connection. What is counted is counted for all."""

    calls = 0
    keys: ClassVar[set[bytes]] = set()

    def __init__(self) -> None:
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answers every request that is whole."""
        self._buffer += data
        while (end := self._buffer.find(SEPARATOR)) >= 0:
            head = self._buffer[:end].lower()
            at = head.find(LENGTH)
            length = int(head[at + len(LENGTH) :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            whole = end + len(SEPARATOR) + length
            if len(self._buffer) < whole:
                return
            body, self._buffer = self._buffer[whole - length : whole], self._buffer[whole:]
            if self._transport is not None:
                self._transport.write(self.answer(head, body))

    def answer(self, head: bytes, body: bytes) -> bytes:
        """The bytes of the answer to a request, whose head is in small letters."""
        del body
        if head.startswith(b"get /stats "):
            said = {"calls": Supplier.calls, "keys": len(Supplier.keys)}
            return answer(json.dumps(said).encode())
        if not head.startswith(b"post /purchases ") or CHUNKED in head:
            return NOT_UNDERSTOOD
        Supplier.calls += 1
        at = head.find(KEY)
        if at >= 0:
            Supplier.keys.add(head[at + len(KEY) :].split(b"\r\n", 1)[0].strip())
        return BOUGHT


async def main(kind: type[Supplier]) -> None:
    """Serves until it is ended."""
    parser = argparse.ArgumentParser(prog="bench.programs.supplier")
    parser.add_argument("--port", type=int, required=True)
    wanted = parser.parse_args()
    server = await asyncio.get_running_loop().create_server(kind, "127.0.0.1", wanted.port, backlog=1024)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(Supplier))
