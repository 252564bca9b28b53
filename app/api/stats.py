"""The whole at a glance: how many operations stand how, and whether every payment is accounted for."""

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from app.api import schemas, wire
from app.api.context import Context
from app.api.keys import Reader
from app.api.openapi import problems
from app.api.queries import no_parameters
from app.db.stats import stats as counted

router = APIRouter(tags=["service"])


@router.get(
    "/stats",
    operation_id="getStats",
    summary="The whole at a glance",
    response_model=schemas.Stats,
    dependencies=[Depends(no_parameters)],
    responses=problems(401, 403, 422, 503),
)
async def stats(request: Request, key: Reader) -> Response:
    """Operations by status and phase, and the sum that must always come out: payments = succeeded + refunded + held + under way."""
    del key
    context: Context = request.app.state.context
    return wire.respond(wire.stats(await counted(context.engine, context.clock.now())))
