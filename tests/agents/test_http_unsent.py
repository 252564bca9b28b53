"""Calls that end before anything was sent, and the failures that say so."""

import asyncio
import contextlib
import socket

import httpx
import pytest

from app.agents.http import NEVER_SENT
from tests.agents.calling import agents_of, call, call_once, never_reads, not_sent, unknown
from tests.agents.support import (
    agents_with,
    listening,
)


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_a_refused_connection_was_never_sent() -> None:
    detail = not_sent(await call_once(f"http://127.0.0.1:{unused_port()}"))
    assert detail.startswith("no connection: ")
    assert "refused" in detail.lower()


async def test_a_connection_that_does_not_come_about_in_time_was_never_sent() -> None:
    """Trap: time that ran out before anything was sent is no unknown outcome, however it is counted."""
    with socket.socket() as full, contextlib.ExitStack() as waiting:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):  # more than its queue takes: the next one is not even answered
            client = waiting.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        exchange = await call_once(f"http://127.0.0.1:{full.getsockname()[1]}", timeout=0.2)
    assert not_sent(exchange) == "no connection within 0.2 s"


async def test_a_host_that_cannot_even_be_looked_up_was_never_sent() -> None:
    assert not_sent(await call_once(f"http://{'a' * 64}.example"))


async def test_a_tls_handshake_that_fails_was_never_sent() -> None:
    async def no_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    async with listening(no_tls) as url:
        exchange = await call_once(url.replace("http:", "https:"))
    assert not_sent(exchange).startswith("no connection: ")


async def test_a_tls_handshake_that_does_not_end_was_never_sent() -> None:
    async with listening(never_reads) as url:
        exchange = await call_once(url.replace("http:", "https:"), timeout=0.2)
    assert not_sent(exchange) == "no connection within 0.2 s"


# True: nothing was sent. Whatever is new in the library is missing here, and fails the test below.
FAILURES = {
    httpx.CloseError: False,
    httpx.ConnectError: True,
    httpx.ConnectTimeout: True,
    httpx.CookieConflict: False,
    httpx.DecodingError: False,
    httpx.HTTPError: False,
    httpx.HTTPStatusError: False,
    httpx.InvalidURL: False,
    httpx.LocalProtocolError: False,
    httpx.NetworkError: False,
    httpx.PoolTimeout: True,
    httpx.ProtocolError: False,
    httpx.ProxyError: False,
    httpx.ReadError: False,
    httpx.ReadTimeout: False,
    httpx.RemoteProtocolError: False,
    httpx.RequestError: False,
    httpx.RequestNotRead: False,
    httpx.ResponseNotRead: False,
    httpx.StreamClosed: False,
    httpx.StreamConsumed: False,
    httpx.StreamError: False,
    httpx.TimeoutException: False,
    httpx.TooManyRedirects: False,
    httpx.TransportError: False,
    httpx.UnsupportedProtocol: True,
    httpx.WriteError: False,
    httpx.WriteTimeout: False,
}
FOREIGN = [OSError, ConnectionResetError, TimeoutError, RuntimeError, ValueError, KeyError, EOFError]


def test_every_failure_of_the_library_is_in_the_table() -> None:
    known = {kind for kind in vars(httpx).values() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert known == FAILURES.keys()
    assert {kind for kind, never_sent in FAILURES.items() if never_sent} == set(NEVER_SENT)


class Fails(httpx.AsyncBaseTransport):
    """A transport whose every call fails in the same way."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.calls = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        del request
        self.calls += 1
        raise self.error


def made(kind: type[Exception]) -> Exception:
    if kind is httpx.HTTPStatusError:
        return httpx.HTTPStatusError("x", request=httpx.Request("GET", "http://h"), response=httpx.Response(200))
    if kind in {httpx.StreamConsumed, httpx.StreamClosed, httpx.RequestNotRead, httpx.ResponseNotRead}:
        return kind()
    return kind("it failed")


@pytest.mark.parametrize("kind", [*FAILURES, *FOREIGN], ids=lambda kind: kind.__name__)
async def test_a_failure_is_not_sent_only_where_it_says_so_and_is_never_tried_again(kind: type[Exception]) -> None:
    """Trap: the wrong class of an error turns a purchase that was made into one that is made again, or forgotten."""
    transport = Fails(made(kind))
    exchange = await call(agents_with(transport=transport))
    assert not_sent(exchange) if FAILURES.get(kind) else unknown(exchange)
    assert transport.calls == 1


async def test_what_never_went_out_has_no_time_of_it() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # it does not listen
        async with agents_of(f"http://127.0.0.1:{taken.getsockname()[1]}") as agents:
            assert (await call(agents)).sent_at is None
