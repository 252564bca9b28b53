"""What operators may ask for: retry, cancel, resolve; of one operation, or of all that a query names."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from fastapi import APIRouter, Depends
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from app.api import bodies, schemas, wire
from app.api.context import Context
from app.api.idempotency import Call, once
from app.api.keys import Operator
from app.api.openapi import IDEMPOTENCY_KEY, IF_MATCH, asks, problems
from app.api.operations import Id, known_id, operation_filter, shown
from app.api.queries import Filters, no_parameters
from app.api.revisions import match
from app.db import reads
from app.db.operator_requests import OperatorReceipt
from app.errors import InvalidRequest
from app.saga.definition import Saga
from app.saga.model import Json, Operation, Status
from app.saga.refund_facts import KnownRefund
from app.saga.signals import CancelRequested, Resolved, RetryRequested, Signal, StepResolved
from app.settings import ApiKey

router = APIRouter(tags=["operators"], prefix="/operations")

REFUSALS = problems(401, 403, 404, 409, 412, 413, 422, 503)
NOTE = "the supplier has fixed it"


async def _act(request: Request, key: ApiKey, id_text: str, said: Any, signal: Signal, note: str | None) -> Response:
    """Does it, and answers with the operation as it then is."""
    context: Context = request.app.state.context
    id_ = known_id(id_text)
    seen = request.headers.getlist("if-match")

    async def work(call: Call | None) -> tuple[int, Json]:
        told = await reads.refunds_told(context.engine, [id_]) if call else {}
        operation = await context.control.act(
            id_,
            signal,
            actor=key.name,
            note=note,
            if_match=(lambda revision: match(seen, revision)) if seen else None,
            answer=partial(_receipt, call, told.get(id_, ())) if call else None,
        )
        return 200, (await shown(context, operation))[0]

    return await once(context.control.requests, request, key, said, work)


def _receipt(call: Call, told: Sequence[KnownRefund], saga: Saga, after: Operation) -> OperatorReceipt:
    return call.receipt(200, wire.operation(saga, after, told))


async def _act_on_all(
    request: Request, key: ApiKey, wanted: Filters, signal: RetryRequested | CancelRequested
) -> Response:
    """Does it to all that the query names, and answers with how many those were."""
    context: Context = request.app.state.context
    if not wanted.model_dump(exclude_defaults=True):
        raise InvalidRequest("name at least one filter: without one, this would be every operation there is")
    said = await bodies.read(request)
    body = bodies.valid(schemas.BulkBody, said)
    named = operation_filter(wanted)

    async def work(call: Call | None) -> tuple[int, Json]:
        if body.dry_run:
            tally = await context.control.count(named, signal)
        else:
            tally = await context.control.act_on_all(named, signal, actor=key.name, note=body.note)
        answer = {"matched": tally.matched, "changed": tally.changed}
        if call:
            await context.control.requests.keep(call.receipt(200, answer), context.clock.now())
        return 200, answer

    return await once(context.control.requests, request, key, said, work)


@router.post(
    "/retry",
    operation_id="retryOperations",
    summary="Run many again",
    response_model=schemas.Tally,
    responses=problems(401, 403, 409, 413, 422, 503),
    openapi_extra=asks(IDEMPOTENCY_KEY, body=(schemas.BulkBody,), note=NOTE, dry_run=True),
)
async def retry_all(request: Request, key: Operator, wanted: Filters) -> Response:
    """As the retry of one, for all that the query names: 1,000 at most at once, and none at all without a filter."""
    return await _act_on_all(request, key, wanted, RetryRequested())


@router.post(
    "/cancel",
    operation_id="cancelOperations",
    summary="Give the money of many back",
    response_model=schemas.Tally,
    responses=problems(401, 403, 409, 413, 422, 503),
    openapi_extra=asks(IDEMPOTENCY_KEY, body=(schemas.BulkBody,), note="the event is off", dry_run=True),
)
async def cancel_all(request: Request, key: Operator, wanted: Filters) -> Response:
    """As the cancel of one, for all that the query names: 1,000 at most at once, and none at all without a filter."""
    return await _act_on_all(request, key, wanted, CancelRequested())


@router.get("/retry", include_in_schema=False)
@router.get("/cancel", include_in_schema=False)
async def not_read() -> Response:
    """The words of a call are no operation's id: they are not looked up as one."""
    raise HTTPException(405, headers={"Allow": "POST"})


@router.post(
    "/{id}/retry",
    operation_id="retryOperation",
    summary="Run it again now",
    response_model=schemas.Operation,
    dependencies=[Depends(no_parameters)],
    responses=REFUSALS,
    openapi_extra=asks(IF_MATCH, IDEMPOTENCY_KEY, body=(schemas.ActionBody,), note=NOTE),
)
async def retry(request: Request, key: Operator, id: Id) -> Response:
    """In `error`, `waiting` or `held`: it runs again now, with its failure count at zero and the same idempotency keys."""
    said = await bodies.read(request)
    body = bodies.valid(schemas.ActionBody, said)
    return await _act(request, key, id, said, RetryRequested(), body.note)


@router.post(
    "/{id}/cancel",
    operation_id="cancelOperation",
    summary="Give the money back",
    response_model=schemas.Operation,
    dependencies=[Depends(no_parameters)],
    responses=REFUSALS,
    openapi_extra=asks(IF_MATCH, IDEMPOTENCY_KEY, body=(schemas.CancelBody,), note="the customer has changed his mind"),
)
async def cancel(request: Request, key: Operator, id: Id) -> Response:
    """In the purchase phase it turns to refund, at once or when the running call ends; in the refund phase nothing changes."""
    said = await bodies.read(request)
    body = bodies.valid(schemas.CancelBody, said)
    return await _act(request, key, id, said, CancelRequested(body.undo_succeeded), body.note)


@router.post(
    "/{id}/resolve",
    operation_id="resolveOperation",
    summary="Settled by a human elsewhere",
    response_model=schemas.Operation,
    dependencies=[Depends(no_parameters)],
    responses=REFUSALS,
    openapi_extra=asks(
        IF_MATCH,
        IDEMPOTENCY_KEY,
        body=(schemas.ResolveBody, schemas.ResolveStepBody),
        required=True,
        outcome="refunded",
        note="paid back by hand, receipt 4711",
    ),
)
async def resolve(request: Request, key: Operator, id: Id) -> Response:
    """Ends the operation where it stands, or settles one step of it, after which it goes on."""
    said = await bodies.read(request)
    signal: Signal
    if isinstance(said, dict) and "step" in said:
        of_step = bodies.valid(schemas.ResolveStepBody, said)
        signal, note = StepResolved(of_step.step, done=of_step.outcome == "done"), of_step.note
    else:
        whole = bodies.valid(schemas.ResolveBody, said)
        signal, note = Resolved(Status(whole.outcome)), whole.note
    return await _act(request, key, id, said, signal, note)
