"""The load and the supplier over real sockets, and what they count."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias

import httpx
import pytest

from app.errors import SignatureInvalid
from app.providers import provider
from bench import config, webhooks
from bench.programs import ledger, load, steady, supplier
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


Served: TypeAlias = InPieces | supplier.Supplier


@asynccontextmanager
async def serving(kind: Callable[[], Served]) -> AsyncIterator[int]:
    """The port of such a service; its connections are closed with it."""
    made: list[Served] = []

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


@pytest.fixture
async def keeping_books() -> AsyncIterator[httpx.AsyncClient]:
    """A client of a supplier whose books are empty."""
    for book in (ledger.Ledger.sold, ledger.Ledger.given_back, ledger.Ledger.twice):
        book.clear()
    async with serving(ledger.Ledger) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        yield client


async def test_the_ledger_sells_refuses_and_answers_some_only_when_it_is_asked_again(
    keeping_books: httpx.AsyncClient,
) -> None:
    async def buy(number: int, key: str) -> int:
        order = {"order": f"order-a-{number}"}
        return (await keeping_books.post("/purchases", json=order, headers={"Idempotency-Key": key})).status_code

    assert [await buy(1, "a"), await buy(1, "a"), await buy(17, "b"), await buy(41, "c"), await buy(41, "c")] == [
        *(200, 200, 422, 500, 200)
    ]
    refund = await keeping_books.post("/refunds", json={"payment_id": "a_17"}, headers={"Idempotency-Key": "d"})
    assert refund.status_code == 200
    said = (await keeping_books.get("/ledger")).json()
    assert (said["sold"], said["given_back"], said["twice"]) == ([1, 41], [17], [])
    await buy(1, "another key")
    assert (await keeping_books.get("/ledger")).json()["twice"] == [1]


async def test_the_steady_load_settles_every_webhook_and_tells_of_each_window(
    in_pieces: int, capsys: pytest.CaptureFixture[str]
) -> None:
    sending = steady.Steady(in_pieces, "a", 500.0)
    await sending.run(100, 0.1)
    windows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(windows) == 2
    assert 0 < sum(window["sent"] for window in windows) <= 100
    assert all(0 < window["p50"] <= window["p99"] for window in windows if window["answered"])
    assert (sending.statuses, sending.unsettled) == ({202: 100}, set())


async def test_the_steady_load_sends_again_what_was_not_stored(in_pieces: int, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([b"HTTP/1.1 503 Gone\r\nContent-Length: 0\r\n\r\n", None])

    def answer(self: InPieces, _: bytes) -> None:
        said = next(answers, ANSWER)
        if said is None:
            self._transport.close()
        else:
            self._transport.write(said)

    monkeypatch.setattr(InPieces, "data_received", answer)
    monkeypatch.setattr(steady, "PAUSE", 0.0)
    sending = steady.Steady(in_pieces, "a", 1000.0)
    await sending.run(1, 1.0)
    assert (sending.statuses, sending.unsettled) == ({503: 1, 0: 1, 202: 1}, set())


async def test_a_redelivery_says_the_same_again_and_a_second_event_has_an_id_of_its_own() -> None:
    sending = steady.Steady(1, "a", 100.0)
    sending._times = [1_763_900_000.25 + number for number in range(100)]
    first, again, second = (sending.request(number) for number in (20, 30, 80))
    assert again.partition(b"\r\n\r\n")[2] == first.partition(b"\r\n\r\n")[2]
    assert b"webhook-id: msg_a_20\r\n" in again
    assert b"webhook-id: msg_a_80\r\n" in second
    assert json.loads(second.partition(b"\r\n\r\n")[2])["data"]["payment_id"] == "a_0"
