"""The bodies of operators' calls: small, JSON, and optional where nothing need be said."""

from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request

from app.api.schemas import Taken
from app.errors import BodyTooLarge, InvalidRequest

MOST_BYTES = 65_536  # the longest note, every character of it escaped

# Stricter than the standard library's reader: no lone surrogate, which no column holds, and no endless nesting.
ANY_JSON: TypeAdapter[Any] = TypeAdapter(Any)

Body = TypeVar("Body", bound=Taken)


async def read(request: Request) -> object:
    """The JSON of a request; an empty body is an empty object.

    Raises:
        BodyTooLarge: more than an operator has to say.
        InvalidRequest: it is not JSON, or does not say that it is.
    """
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > MOST_BYTES:
            raise BodyTooLarge(f"the body has more than the {MOST_BYTES} bytes that are taken")
    if not raw:
        return {}
    media_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise InvalidRequest("the body must be JSON", [("Content-Type", "must be application/json")])
    try:
        return ANY_JSON.validate_json(bytes(raw))
    except ValidationError as error:
        raise InvalidRequest("the body is not JSON", [("", error.errors()[0]["msg"])]) from error


def valid(model: type[Body], value: object) -> Body:
    """A body as its model.

    Raises:
        InvalidRequest: it does not validate; every fault is named.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        faults = [("".join(f"/{part}" for part in fault["loc"]), fault["msg"]) for fault in error.errors()]
        raise InvalidRequest("the body does not validate", faults) from error
