"""Every error at the border: which status and title it gets stands in the one table here (RFC 9457).

A problem's `type` is `/problems/<slug>`, where the slug is the error's `code`; the service serves a short page there.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from app.api.wire import dump
from app.errors import (
    AgentError,
    BodyTooLarge,
    ConfigurationError,
    DatabaseBehind,
    DatabaseError,
    DatabaseUnavailable,
    EmbeddedDatabaseError,
    IdempotencyKeyInUse,
    IdempotencyKeyReused,
    IllegalSignal,
    InvalidRequest,
    MakegoodError,
    MalformedBody,
    NotAllowed,
    NotFound,
    Rejected,
    RequestError,
    RevisionMoved,
    ScopeTooSmall,
    SignatureInvalid,
    Unauthenticated,
    Unavailable,
    UnknownSource,
    WebhookError,
)

MEDIA_TYPE = "application/problem+json"

# Long enough for a failover's new primary to be found, short enough that a provider's first resend comes through.
RETRY_AFTER = {"Retry-After": "2"}
BEARER = {"WWW-Authenticate": 'Bearer realm="makegood"'}
NOT_SAID = "The service cannot answer this request. What happened is in its log, under the request_id."


@dataclass(frozen=True, slots=True)
class Kind:
    """What all problems of one kind have in common.

    Args:
        retryable: whether the same request may succeed later, with nothing changed by the client.
        detail: said instead of the error's own words, where those are for the log alone.
    """

    status: int
    title: str
    retryable: bool = False
    detail: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


_INTERNAL = Kind(500, "Internal error", detail=NOT_SAID)
_DATABASE_AWAY = Kind(
    503,
    "The database is away",
    retryable=True,
    detail="The database cannot take or answer this now; nothing was acknowledged. Send the request again.",
    headers=RETRY_AFTER,
)

KINDS: Mapping[type[MakegoodError], Kind] = {
    MakegoodError: _INTERNAL,
    ConfigurationError: _INTERNAL,
    DatabaseError: _DATABASE_AWAY,
    DatabaseUnavailable: _DATABASE_AWAY,
    DatabaseBehind: Kind(
        503,
        "The database is not migrated",
        retryable=True,
        detail="The database's schema is not the one this program needs; run `makegood migrate`.",
        headers=RETRY_AFTER,
    ),
    EmbeddedDatabaseError: _DATABASE_AWAY,
    WebhookError: Kind(400, "The webhook is not taken"),
    UnknownSource: Kind(404, "Unknown source"),
    BodyTooLarge: Kind(413, "The body is too large"),
    SignatureInvalid: Kind(401, "The signature is not valid", headers={"WWW-Authenticate": "Signature"}),
    MalformedBody: Kind(400, "The body is not JSON"),
    RequestError: Kind(400, "The request cannot be served"),
    Unauthenticated: Kind(401, "An API key is needed", headers=BEARER),
    ScopeTooSmall: Kind(403, "The API key's scope is too small", headers=BEARER),
    NotFound: Kind(404, "Not found"),
    InvalidRequest: Kind(422, "The request does not validate"),
    NotAllowed: Kind(409, "Not allowed in this status"),
    RevisionMoved: Kind(412, "The operation has changed since"),
    IdempotencyKeyReused: Kind(422, "The Idempotency-Key was used for another request"),
    IdempotencyKeyInUse: Kind(
        409, "The first request with this Idempotency-Key is still running", retryable=True, headers=RETRY_AFTER
    ),
    AgentError: Kind(502, "An agent did not answer well"),
    Rejected: Kind(502, "An agent refused"),
    Unavailable: Kind(503, "An agent is unavailable", retryable=True, headers=RETRY_AFTER),
    IllegalSignal: _INTERNAL,
}


def slugs() -> Iterator[tuple[str, Kind, str]]:
    """Every kind of problem there is a page for: slug, kind, and what it means in a sentence."""
    for error, kind in KINDS.items():
        if kind is not _INTERNAL:
            yield error.code, kind, (error.__doc__ or "").partition("\n")[0]
    yield "internal-error", _INTERNAL, "A mistake in the service, never in the request."
    for status in (400, 405, 408, 431):
        phrase = HTTPStatus(status)
        yield (
            _slug(status),
            Kind(status, phrase.phrase, retryable=status == HTTPStatus.REQUEST_TIMEOUT),
            (phrase.description or phrase.phrase),
        )


def kind_of(error: MakegoodError) -> Kind:
    """The kind of an error: its class's row, or the nearest one above it."""
    return next(KINDS[cls] for cls in type(error).__mro__ if cls in KINDS)


def problem(request: Request, error: MakegoodError) -> Response:
    """The answer to a request that has ended in one of our errors."""
    kind = kind_of(error)
    code = "internal-error" if kind is _INTERNAL else error.code
    fields = error.errors if isinstance(error, InvalidRequest) else ()
    return answer(request, code, kind, kind.detail or str(error), fields)


def answer_to(request: Request, error: Exception) -> Response:
    """The answer to a request that has ended in an error, ours or the framework's."""
    match error:
        case MakegoodError():
            return problem(request, error)
        case RequestValidationError():
            return validation_problem(request, error)
        case HTTPException():
            return framework_problem(request, error)
        case _:
            return internal_problem(request)


def framework_problem(request: Request, error: HTTPException) -> Response:
    """The answer where the framework itself refuses: no such path, wrong method."""
    if error.status_code == HTTPStatus.NOT_FOUND:
        return problem(request, NotFound("there is nothing at this path"))
    phrase = HTTPStatus(error.status_code)
    kind = Kind(
        error.status_code,
        phrase.phrase,
        retryable=error.status_code == HTTPStatus.REQUEST_TIMEOUT,
        headers=error.headers or {},
    )
    return answer(request, _slug(error.status_code), kind, phrase.description or phrase.phrase)


def validation_problem(request: Request, error: RequestValidationError) -> Response:
    """The answer where parameters do not validate; what was sent is not repeated."""
    fields: dict[str, str] = {}
    for fault in error.errors():
        name = fault["loc"][1] if len(fault["loc"]) > 1 else fault["loc"][0]
        # A parameter that may be left out is told a second time, that it is not nothing either.
        fields.setdefault(str(name), fault["msg"])
    return problem(request, InvalidRequest("a parameter does not validate", list(fields.items())))


def internal_problem(request: Request) -> Response:
    """The answer where we have made a mistake; nothing of it leaks."""
    return answer(request, "internal-error", _INTERNAL, NOT_SAID)


def answer(request: Request, code: str, kind: Kind, detail: str, fields: Sequence[tuple[str, str]] = ()) -> Response:
    """A problem document as a response."""
    document: dict[str, object] = {
        "type": f"/problems/{code}",
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "code": code,
        "retryable": kind.retryable,
        "request_id": getattr(request.state, "request_id", None),
    }
    if fields:
        document["errors"] = [{"pointer": pointer, "detail": said} for pointer, said in fields]
    return Response(dump(document), kind.status, dict(kind.headers), MEDIA_TYPE)


def _slug(status: int) -> str:
    return HTTPStatus(status).phrase.lower().replace(" ", "-")
