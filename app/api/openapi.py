"""The OpenAPI document: what the routes say of themselves, and what the framework cannot know of them."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from pydantic.json_schema import models_json_schema

from app.api import schemas
from app.api.problems import MEDIA_TYPE

Document = dict[str, Any]

SUMMARY = "Takes signed payment webhooks and makes each payment good."
DESCRIPTION = """Makegood receives *payment-received* webhooks and makes each payment good: it carries out the purchase
that was paid for or, when that cannot be done, gives the money back. Nothing in between, nothing twice, nothing
forgotten.

Times are RFC 3339 in UTC, amounts are integers in the currency's minor units, and every error is a problem document
(RFC 9457). Clients ignore fields that they do not know."""

TAGS = [
    {"name": "webhooks", "description": "Payments come in."},
    {"name": "operations", "description": "What has become of them."},
    {"name": "operators", "description": "What a human may ask for."},
    {"name": "events", "description": "What was delivered."},
    {"name": "service", "description": "Probes, and the service about itself."},
]

MEANING = {
    400: "The body is not JSON.",
    401: "No API key, or an unknown one.",
    403: "The API key's scope is too small.",
    404: "There is no such thing.",
    408: "The body did not come in time.",
    409: "The present status does not allow it, or the first request with this `Idempotency-Key` is still running.",
    412: "The operation has changed since the revision of `If-Match`.",
    413: "The body is too large.",
    422: "A parameter or the body does not validate.",
    503: "The database cannot take or answer it now.",
}
RETRY_AFTER = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}

BODIES: tuple[type[schemas.Taken], ...] = (
    schemas.ActionBody,
    schemas.CancelBody,
    schemas.BulkBody,
    schemas.ResolveBody,
    schemas.ResolveStepBody,
)
_REF = "#/components/schemas/{model}"

IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key with the same request gets the stored answer again, with `Idempotent-Replayed: true`.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!#-~]+$"},
}
IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "description": "The revision that was decided on, as in `ETag`.",
    "schema": {"type": "string"},
    "example": '"7"',
}
IF_NONE_MATCH = {**IF_MATCH, "name": "If-None-Match", "description": "Revisions that are known already."}
PREFER = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "description": "`wait=20`: answered when it is final or held, or after 20 s (30 at most).",
    "schema": {"type": "string"},
    "example": "wait=20",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problem answers of a route, for its `responses`."""
    return {status: _problem(status) for status in statuses}


def _problem(status: int, meaning: str | None = None) -> dict[str, Any]:
    described: dict[str, Any] = {
        "description": meaning or MEANING[status],
        "content": {MEDIA_TYPE: {"schema": {"$ref": _REF.format(model=schemas.Problem.__name__)}}},
    }
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        described["headers"] = RETRY_AFTER
    return described


def asks(
    *parameters: Mapping[str, Any], body: tuple[type[schemas.Taken], ...] = (), required: bool = False, **example: Any
) -> dict[str, Any]:
    """What a route reads by itself: headers, and a JSON body of one of these models."""
    extra: dict[str, Any] = {"parameters": [dict(parameter) for parameter in parameters]}
    if body:
        refs = [{"$ref": _REF.format(model=model.__name__)} for model in body]
        media: dict[str, Any] = {"schema": refs[0] if len(refs) == 1 else {"oneOf": refs}}
        if example:
            media["example"] = example
        extra["requestBody"] = {"required": required, "content": {"application/json": media}}
    return extra


def complete(document: Document) -> Document:
    """Adds to the generated document what is not made by the framework."""
    document["paths"] = {"/webhooks/{source}": {"post": _webhook()}, **document["paths"]}
    models = [(model, "validation") for model in BODIES] + [
        (schemas.Problem, "serialization"),
        (schemas.WebhookAnswer, "serialization"),
    ]
    _, made = models_json_schema(models, ref_template=_REF)  # type: ignore[arg-type]
    known = document["components"]["schemas"]
    document["components"]["schemas"] = dict(sorted({**known, **made["$defs"]}.items()))
    return document


def _webhook() -> Document:
    def said(description: str, example: Mapping[str, Any], *, location: bool = True) -> Document:
        media = {"schema": {"$ref": _REF.format(model=schemas.WebhookAnswer.__name__)}, "example": example}
        answer: Document = {"description": description, "content": {"application/json": media}}
        if location:
            answer["headers"] = {"Location": {"description": "The operation.", "schema": {"type": "string"}}}
        return answer

    id_ = "9c2a4d0e-5b1f-5e0a-8f4e-3a3f5a7d9b61"
    return {
        "tags": ["webhooks"],
        "operationId": "receiveWebhook",
        "summary": "A payment provider tells of an event",
        "description": "The signature is the authentication, and the Content-Type is not looked at. The answer leaves "
        "after the event is committed. Checked in this order: source, size, signature, JSON, meaning.",
        "security": [],
        "parameters": [{"name": "source", "in": "path", "required": True, "schema": {"type": "string"}}],
        "requestBody": {
            "required": True,
            "description": "The raw bytes that the provider has signed.",
            "content": {"application/json": {"schema": {}}},
        },
        "responses": {
            "200": said(
                "A payment we know (`duplicate`), or a verified event that is no payment (`ignored`).",
                {"operation_id": id_, "status": "duplicate"},
            ),
            "202": said(
                "A new payment (`accepted`); or kept for an operator (`unprocessable`, `conflict`).",
                {"operation_id": id_, "status": "accepted"},
            ),
            "400": _problem(400),
            "401": _problem(401, "The signature is bad, missing or stale."),
            "404": _problem(404, "There is no such source."),
            "408": _problem(408),
            "413": _problem(413),
            "503": _problem(503),
        },
    }
