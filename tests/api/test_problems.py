"""One error, one problem: every class has its row, and nothing leaks."""

import json
from collections.abc import Iterator
from datetime import datetime

import httpx
import pytest
from starlette.requests import Request

from app import errors
from app.api.problems import KINDS, answer_to, slugs
from app.errors import InvalidRequest, MakegoodError
from tests.api.desk import Desk


def every(cls: type[MakegoodError] = MakegoodError) -> Iterator[type[MakegoodError]]:
    yield cls
    for child in cls.__subclasses__():
        yield from every(child)


def request() -> Request:
    return Request({"type": "http", "headers": [], "state": {"request_id": "r-1"}})


def test_every_error_has_its_row() -> None:
    of_ours = {cls for cls in every() if cls.__module__ == errors.__name__}
    assert of_ours == set(KINDS)


def test_every_error_has_a_page_of_its_own_name() -> None:
    names = [slug for slug, _, _ in slugs()]
    assert len(names) == len(set(names))
    assert {cls.code for cls, kind in KINDS.items() if kind.status != 500} <= set(names)


@pytest.mark.parametrize("cls", KINDS)
def test_a_problem_says_what_it_is(cls: type[MakegoodError]) -> None:
    answer = answer_to(request(), cls(["hunter2"]) if cls is errors.ConfigurationError else cls("hunter2"))
    said = json.loads(bytes(answer.body))
    assert answer.media_type == "application/problem+json"
    assert (said["status"], said["title"]) == (answer.status_code, KINDS[cls].title)
    assert said["type"] == f"/problems/{said['code']}"
    assert said["request_id"] == "r-1"
    if answer.status_code >= 500 and not issubclass(cls, errors.AgentError):
        assert "hunter2" not in bytes(answer.body).decode()
    if answer.status_code == 503:
        assert int(answer.headers["retry-after"]) > 0
        assert said["retryable"] is True
    if answer.status_code == 401:
        assert "www-authenticate" in answer.headers


def test_the_faults_of_a_request_are_named() -> None:
    answer = answer_to(request(), InvalidRequest("wrong", [("/note", "too long")]))
    assert json.loads(bytes(answer.body))["errors"] == [{"pointer": "/note", "detail": "too long"}]


async def test_the_framework_s_own_refusals_are_problems_too(desk: Desk) -> None:
    for method, path, status in (
        ("GET", "/nothing", 404),
        ("GET", "/operations/", 404),
        ("GET", "/webhooks/shop", 405),
        ("PUT", "/operations", 405),
        ("OPTIONS", "/stats", 405),
        ("DELETE", "/livez", 405),
        ("GET", "/operations/retry", 405),
    ):
        answer = await desk.client.request(method, path)
        assert answer.status_code == status, (method, path)
        assert answer.headers["content-type"] == "application/problem+json"
        said = answer.json()
        assert said["status"] == status
        assert (await desk.client.get(said["type"])).status_code == 200
        if status == 405:
            assert answer.headers["allow"]


async def test_a_mistake_of_ours_leaks_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> datetime:
        raise RuntimeError("hunter2")

    monkeypatch.setattr(desk.clock, "now", broken)
    answer = await desk.client.get("/stats", headers={"X-Request-Id": "r-2"})
    assert answer.status_code == 500
    assert answer.json()["code"] == "internal-error"
    assert answer.json()["request_id"] == "r-2"
    assert "hunter2" not in answer.text
    assert "hunter2" in caplog.text


async def test_every_problem_has_its_page(desk: Desk) -> None:
    for slug, kind, _ in slugs():
        answer = await desk.client.get(f"/problems/{slug}")
        assert answer.status_code == 200
        assert kind.title in answer.text.replace("&#x27;", "'")
    missing = await desk.client.get("/problems/nothing")
    assert missing.status_code == 404


async def test_every_answer_has_its_id_and_its_headers(stranger: httpx.AsyncClient) -> None:
    for path in ("/livez", "/operations", "/nothing", "/docs"):
        answer = await stranger.get(path)
        assert len(answer.headers["x-request-id"]) == 32
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
    assert (await stranger.get("/livez", headers={"X-Request-Id": "abc-1"})).headers["x-request-id"] == "abc-1"
    for bad in ("a b", "x" * 129, "<script>"):
        assert (await stranger.get("/livez", headers={"X-Request-Id": bad})).headers["x-request-id"] != bad


async def test_head_is_get_without_a_body(desk: Desk) -> None:
    answer = await desk.client.head("/operations")
    assert answer.status_code == 200
    assert answer.content == b""
    assert int(answer.headers["content-length"]) > 0
