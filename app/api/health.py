"""Probes: is the process alive, and can it do its work."""

import asyncio

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.api import schemas, wire
from app.api.context import Context
from app.api.openapi import problems
from app.errors import DatabaseUnavailable

router = APIRouter(tags=["service"])

# Seconds: less than what probes usually wait, so that they read our answer and not their own timeout.
LONGEST_CHECK = 2.0


@router.get("/livez", operation_id="livez", summary="Alive", response_model=schemas.Alive)
async def livez() -> Response:
    """The process is alive and its event loop turns."""
    return wire.respond({"status": "alive"})


@router.get(
    "/readyz",
    operation_id="readyz",
    summary="Ready",
    response_model=schemas.Alive,
    responses=problems(503),
)
async def readyz(request: Request) -> Response:
    """The database is reachable and migrated, and the service is not stopping.

    Raises:
        DatabaseUnavailable, DatabaseBehind: it is not ready.
    """
    context: Context = request.app.state.context
    if context.stopping.is_set():
        raise DatabaseUnavailable("the service is stopping")
    try:
        async with asyncio.timeout(LONGEST_CHECK):
            await context.readiness()
    except TimeoutError as error:
        raise DatabaseUnavailable("the database did not answer in time") from error
    return wire.respond({"status": "ready"})
