"""Probes, of the API and of a worker."""

import asyncio
from dataclasses import replace

import pytest

from app.api import create_worker_app, health
from app.errors import DatabaseBehind, DatabaseUnavailable
from tests.api.desk import Desk, client_for


async def test_alive_and_ready(desk: Desk) -> None:
    assert (await desk.client.get("/livez")).json() == {"status": "alive"}
    assert (await desk.client.get("/readyz")).json() == {"status": "ready"}


async def test_it_is_not_ready_without_its_database_and_when_it_stops(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away() -> None:
        raise DatabaseUnavailable("at 10.0.0.1")

    async def behind() -> None:
        raise DatabaseBehind("at revision 3")

    async def silent() -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(health, "LONGEST_CHECK", 0.01)
    for readiness, code in (
        (away, "database-unavailable"),
        (behind, "database-behind"),
        (silent, "database-unavailable"),
    ):
        desk.app.state.context = replace(desk.context, readiness=readiness)
        answer = await desk.client.get("/readyz")
        assert (answer.status_code, answer.json()["code"]) == (503, code)
        assert "10.0.0.1" not in answer.text
        assert (await desk.client.get("/livez")).status_code == 200
    desk.app.state.context = desk.context
    desk.context.stopping.set()
    assert (await desk.client.get("/readyz")).status_code == 503


async def test_a_worker_serves_its_probes_alone(desk: Desk) -> None:
    async with client_for(create_worker_app(desk.context), None) as client:
        assert (await client.get("/livez")).status_code == 200
        assert (await client.get("/readyz")).status_code == 200
        for path in ("/operations", "/events", "/stats", "/docs", "/openapi.json", "/problems/not-found", "/"):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()["code"]) == (404, "not-found"), path
        assert (await client.post("/webhooks/shop", content=b"{}")).status_code == 404
