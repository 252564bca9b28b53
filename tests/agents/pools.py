"""A pool of connections to one agent, and calls over it."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from app.agents.answer import NoReply, Reply
from app.agents.http import attempt
from app.agents.request import Endpoint, Request
from app.agents.transport import Connections
from app.settings import Agent
from tests.agents.support import answer

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
WHOLE = answer(200, b"[1]")


def request_of(method: str = "POST", path: str = "/x", content: bytes | None = b"{}", **headers: str) -> Request:
    return Request(
        "supplier", method, f"http://h{path}", None, f"http://h{path}", path, {"Host": "h", **headers}, content
    )


@contextlib.asynccontextmanager
async def pool_to(url: str, idle: int = 10) -> AsyncIterator[Connections]:
    pool = Connections(Endpoint(Agent("supplier", url)).origin, idle)
    try:
        yield pool
    finally:
        await pool.aclose()


async def call(pool: Connections, method: str = "POST", *, seconds: float = 10.0, **request: Any) -> Reply | NoReply:
    return await attempt(pool, request_of(method, **request), seconds)


def assert_broken(came: Reply | NoReply, detail: str = "") -> None:
    assert isinstance(came, NoReply)
    assert came.sent
    assert detail in came.detail


def assert_not_sent(came: Reply | NoReply, detail: str = "") -> None:
    assert isinstance(came, NoReply)
    assert not came.sent
    assert came.status is None
    assert detail in came.detail


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n"
