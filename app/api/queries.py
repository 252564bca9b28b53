"""What a list may be asked for: the query parameters, validated, with the unknown ones refused."""

import re
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Query
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic.json_schema import SkipJsonSchema
from starlette.requests import Request

from app.api.schemas import NO_NUL
from app.db.tables import EventStatus
from app.errors import InvalidRequest
from app.saga.model import Phase, Status

MOST_ITEMS = 200
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _instant(value: object) -> object:
    """A time as RFC 3339 has it, in UTC."""
    if not isinstance(value, str):
        return value
    # In a query a plus sign that was not quoted arrives as a space.
    text = re.sub(r" (\d\d:\d\d)$", r"+\1", value)
    if not RFC_3339.fullmatch(text):
        raise ValueError("a time as RFC 3339 has it, with its offset: 2026-01-31T12:00:00Z")
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except OverflowError as error:
        raise ValueError("this time is out of range") from error


# Left out is left out: a null is nothing that a query can say, so the document does not offer one.
Absent = SkipJsonSchema[None]
Word = Annotated[str, Field(min_length=1, max_length=255, pattern=NO_NUL)]
Instant = Annotated[
    datetime, BeforeValidator(_instant), WithJsonSchema({"type": "string", "format": "date-time"}, mode="validation")
]
Cursor = Annotated[str, Field(max_length=100, description="`next_cursor` of the page before.")]
Limit = Annotated[int, Field(ge=1, description=f"Items on the page; more than {MOST_ITEMS} count as {MOST_ITEMS}.")]


class OperationFilters(BaseModel):
    """Which operations: all that is given must match."""

    model_config = ConfigDict(extra="forbid")

    external_id: Word | Absent = None
    order_id: Word | Absent = None
    source: Word | Absent = None
    status: list[Status] = Field(default_factory=list, description="Repeated: any of them.")
    phase: Phase | Absent = None
    created_after: Instant | Absent = Field(default=None, description="Inclusive.")
    created_before: Instant | Absent = Field(default=None, description="Exclusive.")


class OperationQuery(OperationFilters):
    """Which operations, and which page of them."""

    limit: Limit = 50
    cursor: Cursor | Absent = None


class EventQuery(BaseModel):
    """Which events, and which page of them."""

    model_config = ConfigDict(extra="forbid")

    status: list[EventStatus] = Field(default_factory=list, description="Repeated: any of them.")
    source: Word | Absent = None
    limit: Limit = 50
    cursor: Cursor | Absent = None


Filters = Annotated[OperationFilters, Query()]
OperationsWanted = Annotated[OperationQuery, Query()]
EventsWanted = Annotated[EventQuery, Query()]


async def no_parameters(request: Request) -> None:
    """A dependency of the calls that take no query.

    Raises:
        InvalidRequest: one came with a query.
    """
    unknown = list(dict.fromkeys(request.query_params.keys()))
    if unknown:
        raise InvalidRequest("this call takes no parameters", [(name, "unknown parameter") for name in unknown])
