"""The OpenAPI document and the pages that stand on it: complete, true, and in need of no other host."""

import hashlib
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from pydantic import BaseModel

from app.api import document, schemas
from tests.api.desk import Desk

ROOT = Path(__file__).resolve().parent.parent.parent
SWAGGER = ROOT / "app" / "api" / "swagger"


def calls() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document()["paths"].items():
        for method, call in item.items():
            yield path, method, call


def test_every_call_says_what_it_is() -> None:
    ids = [call["operationId"] for _, _, call in calls()]
    assert len(ids) == len(set(ids))
    for path, method, call in calls():
        assert call["summary"], path
        assert call["description"], path
        for status, answer in call["responses"].items():
            if int(status) >= 400:
                assert answer["content"].keys() == {"application/problem+json"}, (path, status)
        if method == "post" and path != "/webhooks/{source}":
            assert "Idempotency-Key" in {parameter["name"] for parameter in call["parameters"]}, path
            assert call["requestBody"]["content"]["application/json"]["schema"]


def test_every_reference_leads_somewhere() -> None:
    made = document()
    names = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(made)))
    assert names <= made["components"]["schemas"].keys()
    assert made["openapi"].startswith("3.1")


def test_the_committed_document_is_the_one_that_is_made() -> None:
    kept = json.loads((ROOT / "openapi" / "openapi.json").read_text(encoding="utf-8"))
    assert kept == document()


def assert_exactly(model: type[BaseModel], value: Any) -> None:
    """Every field of the value is described, and none is missing, all the way down."""
    described = {field.alias or name: field for name, field in model.model_fields.items()}
    assert value.keys() == described.keys(), model
    model.model_validate(value)
    for name, field in described.items():
        for kind in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                for part in value[name] if isinstance(value[name], list) else [value[name]]:
                    if part is not None:
                        assert_exactly(kind, part)


async def test_what_goes_out_is_what_is_described(desk: Desk) -> None:
    id_ = await desk.held()
    for path, model in (
        ("/operations", schemas.Operations),
        (f"/operations/{id_}", schemas.Operation),
        (f"/operations/{id_}/attempts", schemas.Attempts),
        (f"/operations/{id_}/history", schemas.History),
        ("/events", schemas.Events),
        ("/stats", schemas.Stats),
        ("/livez", schemas.Alive),
        ("/readyz", schemas.Alive),
    ):
        assert_exactly(model, (await desk.client.get(path)).json())


async def test_the_document_and_the_reference_are_served(stranger: httpx.AsyncClient) -> None:
    assert (await stranger.get("/openapi.json")).json() == document()
    page = await stranger.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert loaded
    for path in loaded:
        assert not path.startswith(("http:", "https:", "//"))
        answer = await stranger.get(f"/{path}")
        assert answer.status_code == 200, path
        assert answer.content
    assert (await stranger.get("/docs/VENDOR.toml")).status_code == 404
    assert (await stranger.get("/docs/..%2fwire.py")).status_code == 404


def test_what_is_vendored_is_what_was_published() -> None:
    vendored = tomllib.loads((SWAGGER / "VENDOR.toml").read_text(encoding="utf-8"))
    for name, digest in vendored["sha256"].items():
        assert hashlib.sha256((SWAGGER / name).read_bytes()).hexdigest() == digest, name
    ours = {"VENDOR.toml", "start.js"}
    assert {path.name for path in SWAGGER.iterdir()} == vendored["sha256"].keys() | ours
