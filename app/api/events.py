"""What was delivered: the list of events, and reading one again after the configuration was mended."""

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from app.api import bodies, cursor, schemas, webhooks, wire
from app.api.context import Context
from app.api.idempotency import Call, once
from app.api.keys import Operator, Reader
from app.api.openapi import IDEMPOTENCY_KEY, asks, problems
from app.api.operations import Id, known_id
from app.api.queries import MOST_ITEMS, EventsWanted, no_parameters
from app.db import reads
from app.saga.model import Json

router = APIRouter(tags=["events"], prefix="/events")


@router.get(
    "",
    operation_id="listEvents",
    summary="Delivered events, newest first",
    response_model=schemas.Events,
    responses=problems(401, 403, 422, 503),
)
async def events(request: Request, key: Reader, wanted: EventsWanted) -> Response:
    """A page of the events that match all filters; what waits for an operator is `unprocessable` or `conflict`."""
    del key
    context: Context = request.app.state.context
    filters = {"status": sorted(set(wanted.status)), "source": wanted.source, "of": "events"}
    after = None if wanted.cursor is None else cursor.decode(wanted.cursor, filters)
    limit = min(wanted.limit, MOST_ITEMS)
    rows = await reads.events(context.engine, set(wanted.status), wanted.source, limit + 1, after)
    more = cursor.encode(rows[limit - 1].received_at, rows[limit - 1].id, filters) if len(rows) > limit else None
    return wire.respond(wire.page([wire.event(row) for row in rows[:limit]], more))


@router.post(
    "/{id}/reprocess",
    operation_id="reprocessEvent",
    summary="Read an event again",
    response_model=schemas.WebhookAnswer,
    dependencies=[Depends(no_parameters)],
    responses={
        202: {"description": "It is a new payment, or still in conflict.", "model": schemas.WebhookAnswer},
        **problems(401, 403, 404, 409, 413, 422, 503),
    },
    openapi_extra=asks(IDEMPOTENCY_KEY, body=(schemas.ActionBody,)),
)
async def reprocess(request: Request, key: Operator, id: Id) -> Response:
    """Reads an `unprocessable` or `conflict` event as the configuration has it now; answers as the webhook would."""
    context: Context = request.app.state.context
    said = await bodies.read(request)
    bodies.valid(schemas.ActionBody, said)
    id_ = known_id(id, "event")

    async def work(call: Call | None) -> tuple[int, Json]:
        receipt = await context.intake.reprocess(context.settings.sources, id_)
        status, answer = webhooks.answer(receipt)
        if call:
            await context.control.requests.keep(call.receipt(status, answer), context.clock.now())
        return status, answer

    return await once(context.control.requests, request, key, said, work)
