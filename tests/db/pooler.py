"""A pooler in transaction mode, as PgBouncer is one: each transaction of a client may run on another session.

It is stricter than the real one, which often gives the same session again: here every transaction gets the next one.
A new client's first session signs it in and then belongs to all.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

READY = b"Z"  # the server's ReadyForQuery; its one byte says whether a transaction is open
IDLE = b"I"
SYNC_OR_QUERY = (b"S", b"Q")  # a client's messages that are answered by a ReadyForQuery
TERMINATE = b"X"


@dataclass(frozen=True)
class Session:
    """A session on the server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


async def message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """One message of the protocol: its kind, and all of its bytes."""
    head = await reader.readexactly(5)
    return head[:1], head + await reader.readexactly(int.from_bytes(head[1:]) - 4)


class Pooler:
    """Serves clients on `port`, over sessions on the server at `socket`."""

    def __init__(self, socket: str) -> None:
        self._socket = socket
        self._idle: deque[Session] = deque()
        self._clients: set[asyncio.Task[None]] = set()
        self.port = 0
        self.transactions = 0

    async def client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one client until it goes."""
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            await self._sign_in(reader, writer)
            while True:
                await self._transaction(reader, writer)
        except (EOFError, ConnectionError, asyncio.CancelledError):
            self._clients.discard(task)
        finally:
            writer.close()

    async def _sign_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = Session(*await asyncio.open_unix_connection(self._socket))
        length = await reader.readexactly(4)
        session.writer.write(length + await reader.readexactly(int.from_bytes(length) - 4))
        while True:
            kind, whole = await message(session.reader)
            writer.write(whole)
            if kind == b"R" and whole[5:9] in (b"\0\0\0\x05", b"\0\0\0\x0a", b"\0\0\0\x0b"):  # it asks for an answer
                session.writer.write((await message(reader))[1])
            if kind == READY:
                break
        self._idle.append(session)

    async def _transaction(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forwards from a client's first message until the server is idle again, on the session that rested longest."""
        kind, whole = await message(reader)
        if kind == TERMINATE:
            raise EOFError
        session = self._idle.popleft()
        self.transactions += 1
        while True:
            session.writer.write(whole)
            if kind in SYNC_OR_QUERY and await self._answer(session, writer) == IDLE:
                break
            if kind == b"H":  # a Flush: the server answers without a ReadyForQuery
                await self._flushed(session, writer)
            kind, whole = await message(reader)
        self._idle.append(session)

    async def _answer(self, session: Session, writer: asyncio.StreamWriter) -> bytes:
        while True:
            kind, whole = await message(session.reader)
            writer.write(whole)
            if kind == READY:
                return whole[5:6]

    async def _flushed(self, session: Session, writer: asyncio.StreamWriter) -> None:
        """After Parse and Describe: parameters, then columns or none, or an error."""
        while True:
            kind, whole = await message(session.reader)
            writer.write(whole)
            if kind in (b"T", b"n", b"E"):
                return

    async def close(self) -> None:
        """Ends every client and every session."""
        for task in self._clients:
            task.cancel()
        if self._clients:
            await asyncio.wait(self._clients)
        for session in self._idle:
            session.writer.close()
            await session.writer.wait_closed()


@asynccontextmanager
async def pooling(socket: str) -> AsyncIterator[Pooler]:
    """A pooler in front of the server that listens on this Unix socket."""
    pooler = Pooler(socket)
    server = await asyncio.start_server(pooler.client, "127.0.0.1", 0)
    pooler.port = server.sockets[0].getsockname()[1]
    try:
        yield pooler
    finally:
        server.close()
        await pooler.close()
