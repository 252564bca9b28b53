"""Steps in Python: a function of one's own, in the transaction that records the step.

Whoever calls `run_local` holds that transaction, and rolls it back unless the answer is `StepDone`. So whatever goes wrong
here, the step was certainly not carried out.
"""

import asyncio
import importlib
import inspect
import json
import logging
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from operator import attrgetter
from pathlib import Path
from typing import Any

from app.agents.answer import LARGEST_RESULT, LONGEST_RETRY_AFTER
from app.agents.calls import Exchange
from app.agents.redact import Redactor, one_line
from app.clock import Clock
from app.errors import Rejected, Unavailable
from app.saga.definition import LocalCall
from app.saga.model import Json, LastError, Outcome
from app.saga.signals import StepDone, StepRejected, StepUnavailable

logger = logging.getLogger(__name__)

LocalFunction = Callable[[dict[str, Json], Any], Awaitable[Json]]

_REDACTOR = Redactor({})  # a function has no headers; fields by their names, and card numbers, are taken out


def check(reference: str) -> str | None:
    """Why the function cannot be run, or None."""
    try:
        load(reference)
    except Unavailable as error:
        return error.detail
    return None


def load(reference: str) -> LocalFunction:
    """The function that `module:name` names, found as Python finds it, the working directory included.

    Raises:
        Unavailable: there is no such module or function, or it is no `async def`.
    """
    directory = str(Path.cwd())
    if directory not in sys.path and "" not in sys.path:
        # Behind everything installed, so that a file there cannot take the place of a library.
        sys.path.append(directory)
    module, _, name = reference.partition(":")
    try:
        imported = importlib.import_module(module)
    except (Exception, SystemExit) as error:  # a module of one's own may fail in any way
        raise Unavailable(f"{module} cannot be imported: {type(error).__name__}: {error}") from error
    try:
        found: Any = attrgetter(name)(imported)
    except AttributeError as error:
        raise Unavailable(f"{module} has no {name}") from error
    if not inspect.iscoroutinefunction(found):
        raise Unavailable(f"{reference} is no async function")
    function: LocalFunction = found
    return function


async def run_local(call: LocalCall, document: dict[str, Json], connection: object, clock: Clock) -> Exchange:
    """Runs a local step within its timeout.

    Args:
        document: the call's document.
        connection: of the transaction that will record the step; rolled back by the caller unless the step is done.
        clock: the time of an `Unavailable`, for its `retry_after`.
    """
    try:
        function = load(call.local)
        result = await _within(call.timeout, function(document, connection))
        _check_result(call.local, result)
    except Rejected as error:
        detail = _detail(error.detail)
        answer = StepRejected(LastError(Outcome.REJECTED, detail, error.status))
        return Exchange(answer, {"status": error.status, "body": detail}, Outcome.REJECTED)
    except Unavailable as error:
        retry_at = clock.now() + min(error.retry_after, LONGEST_RETRY_AFTER) if error.retry_after else None
        return _unavailable(error.detail, error.status, retry_at)
    except (Exception, SystemExit) as error:  # a function of one's own may fail in any way
        logger.warning("local_step_failed", exc_info=True, extra={"function": call.local})
        return _unavailable(f"{type(error).__name__}: {error}")
    raw = json.dumps(result).encode()
    return Exchange(StepDone(result), {"status": None, "body": _REDACTOR.body(result, raw)}, Outcome.DONE)


async def _within(timeout: timedelta, running: Awaitable[Json]) -> Json:
    seconds = timeout.total_seconds()
    task = asyncio.current_task()
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            result = await running
    except TimeoutError as error:
        if limit.expired():
            raise Unavailable(f"no end within {seconds:g} s") from error
        raise
    except asyncio.CancelledError as error:
        if task is not None and task.cancelling():
            raise
        raise Unavailable("it was cancelled from within") from error
    if limit.expired():
        # It has held its own cancellation up, and its connection may have been cut off in the middle.
        raise Unavailable(f"no end within {seconds:g} s")
    return result


def _check_result(reference: str, result: Json) -> None:
    """A result that cannot be kept is a mistake in the function: nothing of it may stay."""
    if result is not None and not isinstance(result, dict):
        raise Unavailable(f"{reference} returned {type(result).__name__}, neither a dict nor None")
    try:
        size = len(json.dumps(result, separators=(",", ":"), allow_nan=False))
    except (RecursionError, TypeError, ValueError) as error:
        raise Unavailable(f"{reference} returned what is no JSON: {error}") from error
    if size > LARGEST_RESULT:
        raise Unavailable(f"{reference} returned {size} bytes of JSON, more than {LARGEST_RESULT}")


def _unavailable(detail: str, status: int | None = None, retry_at: datetime | None = None) -> Exchange:
    clean = _detail(detail)
    answer = StepUnavailable(LastError(Outcome.UNAVAILABLE, clean, status), retry_at)
    return Exchange(answer, {"status": status, "body": clean}, Outcome.UNAVAILABLE)


def _detail(text: str) -> str:
    return one_line(_REDACTOR.text(text), 500)
