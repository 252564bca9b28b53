"""The load and the supplier over real sockets, and what they count."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from app.errors import SignatureInvalid
from app.providers import provider
from bench import config, webhooks
from bench.programs import load, supplier
from bench.programs.client import KINDS

ANSWER = b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nCONTENT-LENGTH: 2\r\n\r\n{}"


class InPieces(asyncio.Protocol):
    """Answers each request, byte by byte."""

    received: list[bytes] = []  # noqa: RUF012 - one list for all connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self.received.append(data)
        loop = asyncio.get_running_loop()
        for number, byte in enumerate(ANSWER):
            loop.call_later(number / 10_000, self._transport.write, bytes([byte]))


@asynccontextmanager
async def serving(kind: type[InPieces | supplier.Supplier]) -> AsyncIterator[int]:
    """The port of such a service; its connections are closed with it."""
    made: list[InPieces | supplier.Supplier] = []

    def accept() -> asyncio.Protocol:
        made.append(kind())
        return made[-1]

    server = await asyncio.get_running_loop().create_server(accept, "127.0.0.1")
    yield server.sockets[0].getsockname()[1]
    server.close()
    for protocol in made:
        if protocol._transport is not None:
            protocol._transport.abort()
    await asyncio.sleep(0)  # in which the loop closes what was aborted


@pytest.fixture
async def in_pieces() -> AsyncIterator[int]:
    """The port of a service that answers byte by byte."""
    InPieces.received = []
    async with serving(InPieces) as port:
        yield port


@pytest.fixture
async def supplying() -> AsyncIterator[int]:
    """The port of a supplier that has counted nothing."""
    supplier.Supplier.calls = 0
    supplier.Supplier.keys.clear()
    async with serving(supplier.Supplier) as port:
        yield port


def test_every_webhook_is_signed_so_that_the_service_takes_it(tmp_path: Path) -> None:
    settings = config.read(config.write(tmp_path / "makegood.toml", url="postgresql://x/y", supplier=1))
    source = settings.sources["shop"]
    sent = list(webhooks.requests("a", 3))
    for request in sent:
        head, _, body = request.partition(b"\r\n\r\n")
        headers = dict(line.decode().lower().split(": ", 1) for line in head.split(b"\r\n")[1:])
        headers["webhook-signature"] = head.decode().partition("webhook-signature: ")[2].partition("\r\n")[0]
        provider(source.provider).verify(source, headers, body, datetime.now(UTC))
        with pytest.raises(SignatureInvalid):
            provider(source.provider).verify(source, headers, body + b" ", datetime.now(UTC))
        with pytest.raises(SignatureInvalid):
            provider(source.provider).verify(source, headers, body, datetime.now(UTC) + timedelta(hours=2))
    assert len(set(sent)) == 3


async def test_the_load_sends_each_webhook_once_and_reads_answers_that_come_in_pieces(in_pieces: int) -> None:
    said = await load.closed_loop(list(webhooks.requests("a", 20)), [in_pieces], 4)
    assert said["statuses"] == {202: 20}
    assert len(set(InPieces.received)) == len(InPieces.received) == 20


async def test_in_an_open_loop_nobody_waits_for_an_answer(in_pieces: int) -> None:
    said = await load.open_loop(list(webhooks.requests("a", 20)), [in_pieces], 1000.0)
    assert said["statuses"] == {202: 20}
    sent = said["sent"]
    assert isinstance(sent, list)
    assert all(at > 0 and seconds > len(ANSWER) / 20_000 for at, seconds in sent)
    first, last = sent[0], sent[-1]
    assert last[0] - first[0] < sum(seconds for _, seconds in sent)


async def test_a_load_whose_service_goes_away_fails(in_pieces: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InPieces, "data_received", lambda self, _: self._transport.close())
    with pytest.raises(ConnectionError):
        await load.closed_loop(list(webhooks.requests("a", 1)), [in_pieces], 1)


async def test_the_supplier_counts_calls_and_keys(supplying: int) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{supplying}") as client:
        for key in ("a", "b", "a"):
            answer = await client.post("/purchases", json={}, headers={"Idempotency-Key": key})
            assert (answer.status_code, answer.json()) == (200, {"ref": "bought-1"})
        refused = await client.post("/refunds", json={})
        stats = await client.get("/stats")
    assert refused.status_code == 501
    assert stats.json() == {"calls": 3, "keys": 2}


@pytest.mark.parametrize("kind", KINDS)
async def test_each_client_makes_the_same_call(supplying: int, kind: str) -> None:
    async with KINDS[kind](supplying, 2) as call:
        assert [await call("a"), await call("b")] == [200, 200]
    assert (supplier.Supplier.calls, supplier.Supplier.keys) == (2, {b"a", b"b"})
