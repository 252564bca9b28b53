"""A line to the database that can be cut: what the service sees when its database goes away."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlsplit, urlunsplit


class Line:
    """Forwards to a server's Unix socket, as long as it is not cut."""

    def __init__(self, socket: str) -> None:
        self._socket = socket
        self._open: set[asyncio.StreamWriter] = set()
        self._cut = False
        self.refused = 0

    def cut(self) -> None:
        """Breaks all connections; new ones are broken as well until it is mended."""
        self._cut = True
        for writer in self._open:
            writer.transport.abort()

    def mend(self) -> None:
        """From now on one can connect again."""
        self._cut = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client's connection, to its end."""
        if self._cut:
            self.refused += 1
            writer.transport.abort()
            return
        from_server, to_server = await asyncio.open_unix_connection(self._socket)
        ends = {writer, to_server}
        self._open |= ends
        try:
            await asyncio.gather(_forward(reader, to_server), _forward(from_server, writer))
        finally:
            self._open -= ends


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def line_to(url: str) -> AsyncIterator[tuple[Line, str]]:
    """A line to the database of a URL whose host is a socket's folder, and the URL that leads over it."""
    parts = urlsplit(url)
    place = {name: values[0] for name, values in parse_qs(parts.query).items()}
    line = Line(f"{place['host']}/.s.PGSQL.{place['port']}")
    server = await asyncio.start_server(line.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        yield line, urlunsplit((parts.scheme, f"{parts.netloc}{host}:{port}", parts.path, "", ""))
    finally:
        server.close()
        line.cut()
