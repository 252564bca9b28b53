"""The API over real sockets: what senders do to a server, and the whole document by machine."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from requests.auth import AuthBase
from schemathesis.specs.openapi.checks import positive_data_acceptance

from app.api import document
from app.sandbox import listening
from tests.api.desk import OPERATOR, Desk, desk_on
from tests.builders import FixedClock

SCHEMA = schemathesis.openapi.from_dict(document())
KEY = {"Authorization": f"Bearer {OPERATOR}"}
EXAMPLES = 12  # a call; with the boundary values that are always tried, all of it takes some seconds


@dataclass
class Running:
    """The API on a port. `ids` are of operations and events that there are."""

    url: str
    desk: Desk
    ids: list[str]


async def serve(database_url: str, folder: Path, started: Future[Running], over: asyncio.Event) -> None:
    async with desk_on(database_url, FixedClock(), folder) as desk, listening(desk.app) as url:
        ids = [await desk.held("held"), await desk.succeeded("done"), await desk.failed("error")]
        conflict = await desk.deliver(desk.payment("done", amount=5), "msg_conflict")
        started.set_result(Running(url, desk, [*ids, conflict.json()["event_id"]]))
        await over.wait()


@pytest.fixture(scope="module")
def running(databases: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """It serves in a thread with a loop of its own, for clients that block."""
    name = databases.create("template_migrated")
    started: Future[Running] = Future()
    over = asyncio.Event()
    with asyncio.Runner() as runner, ThreadPoolExecutor(1) as thread:
        loop = runner.get_loop()
        serving = thread.submit(runner.run, serve(databases.url(name), tmp_path_factory.mktemp("api"), started, over))
        # Where it ends before it has started, its error is the one to be seen.
        serving.add_done_callback(lambda ended: started.cancel() or ended.result())
        yield started.result(60)
        loop.call_soon_threadsafe(over.set)
        serving.result(30)
    databases.drop(name)


class Signature(AuthBase):
    """Signs what is sent, as a payment provider does."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        body = request.body or b""
        assert isinstance(body, bytes | str)
        request.headers.update(self._desk.signed(body if isinstance(body, bytes) else body.encode()))
        return request


def depends_on_state(answer: schemathesis.Response) -> bool:
    """Whether it was refused for what no document can say: what there is, and what came before."""
    if answer.status_code not in {412, 422}:
        return False
    said = answer.json()
    fields = {fault["pointer"] for fault in said.get("errors", ())}
    return (
        said["code"] in {"revision-moved", "idempotency-key-reused"}
        or fields == {"cursor"}  # only a list can give one
        or said["detail"] == "no such step"
        or said["detail"].startswith(("name at least one filter", "it still cannot be read"))
    )


@SCHEMA.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_call_keeps_to_the_document(case: schemathesis.Case[Any], running: Running) -> None:
    auth: AuthBase | None = None
    valid = case.meta is None or case.meta.generation.mode is schemathesis.GenerationMode.POSITIVE
    if case.path == "/webhooks/{source}":
        if valid:
            case.path_parameters["source"] = "shop"
        auth = Signature(running.desk)
    elif valid and "id" in case.path_parameters and len(repr(case.body)) % 2:
        # Ids that are made up meet nothing: half of the calls are about what there is.
        case.path_parameters["id"] = running.ids[len(repr(case.headers)) % len(running.ids)]
    case.headers.pop("Prefer", None)  # it would wait; that is tested by itself
    answer = case.call(base_url=running.url, headers=KEY, auth=auth)
    case.validate_response(answer, excluded_checks=[positive_data_acceptance] if depends_on_state(answer) else [])
    assert answer.headers["x-request-id"]


def test_what_senders_do_to_a_server_leaves_it_standing(running: Running) -> None:
    large = b"x" * 10_000_000

    def in_chunks() -> Iterator[bytes]:
        yield from (large[at : at + 65_536] for at in range(0, len(large), 65_536))

    url = running.url
    path = f"{url}/webhooks/shop"
    with httpx.Client(timeout=10) as client:
        for body in (large, in_chunks()):
            # The server may cut the connection before all is sent; an answer that comes is 413.
            with contextlib.suppress(httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError):
                assert client.post(path, content=body).status_code == 413
            assert client.get(f"{url}/livez").status_code == 200
        flood = [(f"X-Flood-{number}", "x" * 100) for number in range(5_000)]
        with contextlib.suppress(httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError):
            assert client.get(f"{url}/operations", headers=flood).status_code in {400, 401, 431}
        assert client.get(f"{url}/operations?order_id={'x' * 10_000}", headers=KEY).status_code == 422
        assert client.get(f"{url}/operations/{'x' * 10_000}", headers=KEY).status_code == 404
        assert client.head(f"{url}/livez").content == b""
        assert client.get(f"{url}/livez").json() == {"status": "alive"}


def test_a_sender_that_hangs_up_in_the_middle_leaves_no_trace(running: Running) -> None:
    address = httpx.URL(running.url)
    for sent in (b"{", b"x" * 100):
        with socket.create_connection((address.host, address.port or 80), timeout=5) as connection:
            connection.sendall(b"POST /webhooks/shop HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + sent)
    with httpx.Client(timeout=10) as client:
        assert client.get(f"{running.url}/readyz").json() == {"status": "ready"}
