"""API keys: who may do what."""

import httpx
import pytest

from app.api.keys import Keys
from app.errors import Unauthenticated
from app.settings import ApiKey, Scope
from tests.api.desk import OPERATOR, Desk

ID = "9c2a4d0e-5b1f-5e0a-8f4e-3a3f5a7d9b61"
READS = [
    "/operations",
    f"/operations/{ID}",
    f"/operations/{ID}/attempts",
    f"/operations/{ID}/history",
    "/events",
    "/stats",
]
ACTS = [
    f"/operations/{ID}/retry",
    f"/operations/{ID}/cancel",
    f"/operations/{ID}/resolve",
    "/operations/retry?status=held",
    "/operations/cancel?status=error",
    f"/events/{ID}/reprocess",
]
OPEN = {"/webhooks/{source}", "/livez", "/readyz"}


async def test_without_a_key_nothing_is_told(stranger: httpx.AsyncClient) -> None:
    for headers in (
        {},
        {"Authorization": "Bearer nope"},
        {"Authorization": f"Basic {OPERATOR}"},
        {"Authorization": ""},
    ):
        for path in READS:
            answer = await stranger.get(path, headers=headers)
            assert answer.status_code == 401, path
            assert answer.headers["www-authenticate"].startswith("Bearer")
        for path in ACTS:
            assert (await stranger.post(path, headers=headers)).status_code == 401, path


async def test_a_reader_s_key_does_not_operate(reader: httpx.AsyncClient) -> None:
    for path in ACTS:
        answer = await reader.post(path)
        assert answer.status_code == 403, path
        assert answer.json()["code"] == "scope-too-small"
    assert (await reader.get("/operations")).status_code == 200


async def test_operate_includes_read(client: httpx.AsyncClient) -> None:
    assert (await client.get("/operations")).status_code == 200


async def test_no_key_comes_before_a_bad_parameter(stranger: httpx.AsyncClient) -> None:
    assert (await stranger.get("/operations?limit=0")).status_code == 401


async def test_every_other_path_asks_for_a_key(desk: Desk) -> None:
    paths = desk.app.openapi()["paths"]
    without = {path for path, item in paths.items() for call in item.values() if not call.get("security")}
    assert without == OPEN


def test_the_key_that_was_presented_is_found() -> None:
    one = ApiKey("one", Scope.READ, "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")
    assert Keys([one]).holder("test") is one
    for wrong in (None, "", "Test", "tést", "\U0001f600"):
        with pytest.raises(Unauthenticated):
            Keys([one]).holder(wrong)
