"""Reading operations: one, many, its calls, its changes."""

import re
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path
from starlette.requests import Request
from starlette.responses import Response

from app.api import cursor, schemas, wire
from app.api.context import Context
from app.api.keys import Reader
from app.api.openapi import IF_NONE_MATCH, PREFER, asks, problems
from app.api.queries import MOST_ITEMS, OperationFilters, OperationsWanted, no_parameters
from app.api.revisions import none_match, wait_seconds
from app.api.waiting import Waiting
from app.db import reads
from app.db.filters import OperationFilter
from app.errors import NotFound
from app.saga.model import SETTLED, Operation, Status

router = APIRouter(tags=["operations"], prefix="/operations")

CANONICAL = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
Id = Annotated[str, Path(json_schema_extra={"format": "uuid"})]


def known_id(text: str, what: str = "operation") -> UUID:
    """The id of a path. Raises NotFound where it is none: there is nothing at such a path."""
    if not CANONICAL.fullmatch(text):
        raise NotFound(f"there is no such {what}")
    return UUID(text)


def operation_filter(wanted: OperationFilters) -> OperationFilter:
    """The filters of a query, as the reads take them."""
    return OperationFilter(
        external_id=wanted.external_id,
        order_id=wanted.order_id,
        source=wanted.source,
        statuses=frozenset(wanted.status),
        phase=wanted.phase,
        created_after=wanted.created_after,
        created_before=wanted.created_before,
    )


async def shown(context: Context, *operations: Operation) -> list[dict[str, object]]:
    """Operations as they go out."""
    told = await reads.refunds_told(context.engine, [operation.id for operation in operations])
    return [
        wire.operation(await context.sagas.get(operation.saga_hash), operation, told.get(operation.id, ()))
        for operation in operations
    ]


async def found(context: Context, id_: UUID) -> Operation:
    """The operation of that id. Raises NotFound."""
    operation = await reads.operation(context.engine, id_)
    if operation is None:
        raise NotFound("there is no such operation")
    return operation


@router.get(
    "",
    operation_id="listOperations",
    summary="Operations, newest first",
    response_model=schemas.Operations,
    responses=problems(401, 403, 422, 503),
)
async def operations(request: Request, key: Reader, wanted: OperationsWanted) -> Response:
    """A page of the operations that match all filters."""
    del key
    context: Context = request.app.state.context
    filters = wanted.model_dump(mode="json", exclude={"limit", "cursor"})
    filters["status"] = sorted(set(filters["status"]))
    after = None if wanted.cursor is None else cursor.decode(wanted.cursor, filters)
    limit = min(wanted.limit, MOST_ITEMS)
    rows = await reads.operations(context.engine, operation_filter(wanted), limit + 1, after)
    more = cursor.encode(rows[limit - 1].created_at, rows[limit - 1].id, filters) if len(rows) > limit else None
    return wire.respond(wire.page(await shown(context, *rows[:limit]), more))


@router.get(
    "/{id}",
    operation_id="getOperation",
    summary="One operation",
    response_model=schemas.Operation,
    dependencies=[Depends(no_parameters)],
    responses={
        304: {"description": "It is still at a revision of `If-None-Match`."},
        **problems(401, 403, 404, 422, 503),
    },
    openapi_extra=asks(IF_NONE_MATCH, PREFER),
)
async def operation(request: Request, key: Reader, id: Id) -> Response:
    """The operation, at once; with `Prefer: wait=20` once it is final or held, or after 20 s (30 at most).

    With `If-None-Match` as well it is answered as soon as its revision is another one.
    """
    del key
    context: Context = request.app.state.context
    waiting: Waiting = request.app.state.waiting
    id_ = known_id(id)
    seconds = wait_seconds(request.headers.getlist("prefer"))
    known = request.headers.getlist("if-none-match")
    row = await found(context, id_)
    headers = {}

    def met(revision: int, status: Status) -> bool:
        return status in SETTLED or (bool(known) and not none_match(known, revision))

    if seconds is not None:
        waited = met(row.revision, row.status) or await waiting.until(id_, met, seconds)
        if waited:
            headers["Preference-Applied"] = f"wait={seconds}"
            row = await found(context, id_)
    headers["ETag"] = wire.etag(row.revision)
    if known and none_match(known, row.revision):
        return Response(None, 304, headers)
    return wire.respond((await shown(context, row))[0], headers=headers)


@router.get(
    "/{id}/attempts",
    operation_id="listAttempts",
    summary="Its calls out, oldest first",
    response_model=schemas.Attempts,
    dependencies=[Depends(no_parameters)],
    responses=problems(401, 403, 404, 422, 503),
)
async def attempts(request: Request, key: Reader, id: Id) -> Response:
    """Every call that was made for the operation, from before it went out."""
    del key
    context: Context = request.app.state.context
    row = await found(context, known_id(id))
    rows = await reads.attempts(context.engine, row.id)
    return wire.respond({"items": [wire.attempt(each) for each in rows]})


@router.get(
    "/{id}/history",
    operation_id="listHistory",
    summary="Its changes, oldest first",
    response_model=schemas.History,
    dependencies=[Depends(no_parameters)],
    responses=problems(401, 403, 404, 422, 503),
)
async def history(request: Request, key: Reader, id: Id) -> Response:
    """Every change of the operation: what it was, who or what caused it, and when."""
    del key
    context: Context = request.app.state.context
    row = await found(context, known_id(id))
    rows = await reads.history(context.engine, row.id)
    return wire.respond({"items": [wire.change(each) for each in rows]})
