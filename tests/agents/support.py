"""Calls, agents and a scripted agent on a real socket, with only the interesting part named."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import httpx

from app.agents import Agents
from app.saga import Sending
from app.saga.call import call_document, idempotency_key
from app.saga.definition import Call, HttpCall, Lookup
from app.saga.evidence import with_step
from app.saga.model import Action, Json, Operation
from app.settings import Agent
from tests.builders import FixedClock, operation_for

BUY = HttpCall("supplier", "POST", "/purchases", "{id: operation_id}")
ASK = Lookup("supplier", "GET", "/purchases/{operation_id}", done="status == 'confirmed'")


def sending_of(
    call: Call | Lookup = BUY,
    action: Action = Action.DO,
    *,
    attempt: int = 1,
    timeout: float = 5.0,
    operation: Operation | None = None,
    **state: Any,
) -> Sending:
    """The sending of a call for the step `purchase`, whose state may be named."""
    action = Action.LOOKUP if isinstance(call, Lookup) else action
    operation = with_step(operation or operation_for(), "purchase", **state)
    key = idempotency_key(operation, "purchase", action)
    return Sending(operation, "purchase", action, call, attempt, key, timedelta(seconds=timeout))


def document_of(sending: Sending, event: Json = None) -> dict[str, Json]:
    """The document of a sending."""
    return call_document(sending.operation, sending.step, event, undo=sending.action is Action.UNDO)


def agents_with(
    base_url: str = "http://supplier.example",
    *,
    transport: httpx.AsyncBaseTransport | None = None,
    clock: FixedClock | None = None,
    **settings: Any,
) -> Agents:
    """Agents of which one is there, the supplier."""
    agent = replace(Agent("supplier", base_url), **settings)
    return Agents({"supplier": agent}, clock or FixedClock(), transport)


@dataclass
class Received:
    """One request as the scripted agent has read it."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int


Script = Callable[["Scripted", Received, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Scripted:
    """An agent that reads each request to its end and then does what its script says with the connection."""

    script: Script
    received: list[Received] = field(default_factory=list)
    connections: int = 0
    over: asyncio.Event = field(default_factory=asyncio.Event)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        number = self.connections
        try:
            while not writer.is_closing():
                request = await self._read(reader, number)
                self.received.append(request)
                await self.script(self, request, reader, writer)
                await writer.drain()
        finally:
            writer.close()
            self.closed.set()

    async def _read(self, reader: asyncio.StreamReader, number: int) -> Received:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *lines = head.rstrip("\r\n").split("\r\n")
        method, target, _ = line.split(" ")
        headers = {name.lower(): value for name, _, value in (entry.partition(": ") for entry in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        return Received(method, target, headers, body, number)


Connected = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def listening(connected: Connected, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """The URL of a server on loopback that does with each connection as it is told, and leaves none open."""
    handlers: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handlers.add(task)
        try:
            await connected(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the caller has gone, or the test is over
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in handlers:
            task.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)
        await server.wait_closed()


@contextlib.asynccontextmanager
async def scripted(script: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[Scripted]:
    """A scripted agent that listens on loopback."""
    agent = Scripted(script)
    async with listening(agent.serve, tls) as agent.url:
        try:
            yield agent
        finally:
            agent.over.set()


def says(answer: bytes) -> Script:
    """A script that writes the same bytes to every request and keeps the connection."""

    async def script(
        agent: Scripted, request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        del agent, request, reader
        writer.write(answer)

    return script


def says_and_closes(answer: bytes) -> Script:
    """A script that writes bytes and closes the connection."""

    async def script(
        agent: Scripted, request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        del agent, request, reader
        writer.write(answer)
        await writer.drain()
        writer.close()

    return script


def says_and_waits(answer: bytes) -> Script:
    """A script that writes bytes and then says no more."""

    async def script(
        agent: Scripted, request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        del request, reader
        writer.write(answer)
        await writer.drain()
        await agent.over.wait()

    return script


def answer(status: int, body: bytes = b"", *headers: str) -> bytes:
    """The bytes of an HTTP answer."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
