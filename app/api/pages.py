"""The service about itself: the OpenAPI document, the reference that reads it, and what each problem means."""

from html import escape
from importlib.resources import files

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.api import wire
from app.api.problems import Kind, slugs
from app.errors import NotFound

router = APIRouter(include_in_schema=False)

# Everything comes from this service: the pages work with no other network, and nothing else may be loaded.
SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' {styles}; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HTML = "text/html; charset=utf-8"
ASSETS = {
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "start.js": "text/javascript; charset=utf-8",
}
DOCS = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Makegood: API reference</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="reference"></div>
<noscript>This page needs JavaScript. The document itself is at <a href="openapi.json">openapi.json</a>.</noscript>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
PROBLEM = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
</head>
<body>
<main>
<h1>{title}</h1>
<p>{meaning}</p>
<dl>
<dt>HTTP status</dt><dd>{status}</dd>
<dt>code</dt><dd><code>{slug}</code></dd>
<dt>retryable</dt><dd>{retryable}</dd>
</dl>
<p>The problem's <code>detail</code> says what it was this time, and its <code>request_id</code> finds it in the log.</p>
</main>
</body>
</html>
"""
_KINDS: dict[str, tuple[Kind, str]] = {slug: (kind, meaning) for slug, kind, meaning in slugs()}


@router.get("/openapi.json")
async def openapi_document(request: Request) -> Response:
    """The OpenAPI document."""
    return wire.respond(request.app.openapi())


@router.get("/docs")
async def reference() -> Response:
    """The reference, which reads the OpenAPI document in the browser."""
    # Swagger UI sets style attributes.
    return Response(DOCS, headers=_policy("'unsafe-inline'"), media_type=HTML)


@router.get("/docs/{name}")
async def asset(name: str) -> Response:
    """A file of the reference. Raises NotFound."""
    if name not in ASSETS:
        raise NotFound("there is nothing at this path")
    content = (files("app.api") / "swagger" / name).read_bytes()
    return Response(content, headers={"Cache-Control": "public, max-age=3600"}, media_type=ASSETS[name])


@router.get("/problems/{slug}")
async def problem_page(slug: str) -> Response:
    """What a problem means. Raises NotFound."""
    if slug not in _KINDS:
        raise NotFound("there is no such problem")
    kind, meaning = _KINDS[slug]
    retryable = "yes: the same request may succeed later" if kind.retryable else "no: something has to change first"
    page = PROBLEM.format(
        title=escape(kind.title), meaning=escape(meaning), status=kind.status, slug=slug, retryable=retryable
    )
    return Response(page, headers=_policy(""), media_type=HTML)


def _policy(styles: str) -> dict[str, str]:
    return {"Content-Security-Policy": SECURITY_POLICY.format(styles=styles)}
