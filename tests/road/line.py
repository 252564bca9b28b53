"""A line to the database that can be cut: what the service sees when its database goes away."""

import asyncio
import contextlib
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from enum import Enum, auto
from urllib.parse import parse_qs, urlsplit, urlunsplit

COMMIT = b"COMMIT"
# Where a statement that is a transaction by itself is prepared: the name that it is carried out by.
PREPARED = re.compile(rb"(__asyncpg_\w+)\x00\s*/\* (?:store|begin|record|count again) \*/")
IN_TRANSACTION = b"Z\x00\x00\x00\x05T"  # ends what a server says that is in the middle of one


class Fate(Enum):
    """What becomes of the next commit on a connection, which breaks with it."""

    NEVER_ARRIVES = auto()
    ANSWER_IS_LOST = auto()


class Line:
    """Forwards to a server's Unix socket, as long as it is not cut."""

    def __init__(self, socket: str) -> None:
        self._socket = socket
        self._open: set[asyncio.StreamWriter] = set()
        self._cut = False
        self._fates: dict[int, Fate] = {}
        self._alone: dict[int, set[bytes]] = defaultdict(set)
        self._in_transaction: set[int] = set()
        self._committing: set[int] = set()
        self.refused = 0
        self._commits_heard = asyncio.Event()
        self._commits_heard.set()

    def cut(self) -> None:
        """Breaks all connections; new ones are broken as well until it is mended."""
        self._cut = True
        for writer in self._open:
            writer.transport.abort()

    def mend(self) -> None:
        """From now on one can connect again."""
        self._cut = False

    def break_at_commit(self, port: int, fate: Fate) -> None:
        """Breaks the connection that comes from this port, at its next commit."""
        self._fates[port] = fate

    def keep_answers(self) -> None:
        """From now on what is committed is on disk, and who has committed it does not hear so."""
        self._commits_heard.clear()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client's connection, to its end."""
        if self._cut:
            self.refused += 1
            writer.transport.abort()
            return
        port = writer.get_extra_info("peername")[1]
        from_server, to_server = await asyncio.open_unix_connection(self._socket)
        self._open |= {writer, to_server}
        try:
            await asyncio.gather(
                self._forward(reader, to_server, port, self._asked, Fate.NEVER_ARRIVES),
                self._forward(from_server, writer, port, self._answered, Fate.ANSWER_IS_LOST),
            )
        finally:
            self._open -= {writer, to_server}

    async def _forward(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        port: int,
        is_commit: Callable[[int, bytes], bool],
        breaks: Fate,
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                commit = is_commit(port, data)
                if commit and self._fates.get(port) is breaks:
                    break
                if commit and breaks is Fate.ANSWER_IS_LOST:
                    await self._commits_heard.wait()
                writer.write(data)
                await writer.drain()
        writer.close()

    def _asked(self, port: int, data: bytes) -> bool:
        """Whether what a client says commits: the word itself, or a statement that is a transaction by itself."""
        prepared = PREPARED.findall(data)
        self._alone[port].update(prepared)
        alone = not prepared and any(name + b"\x00" in data for name in self._alone[port])
        if COMMIT in data or (alone and port not in self._in_transaction):
            self._committing.add(port)
            return True
        return False

    def _answered(self, port: int, data: bytes) -> bool:
        """Whether what a server says is the answer to a commit."""
        (self._in_transaction.add if data.endswith(IN_TRANSACTION) else self._in_transaction.discard)(port)
        commit = port in self._committing
        self._committing.discard(port)
        return commit


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
