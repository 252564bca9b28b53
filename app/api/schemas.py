"""How the API's JSON is described to its readers: the schemas of the OpenAPI document.

Answers are written by `app.api.wire`; a test holds the two against each other. What comes in is validated by these.
"""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StrictBool, WithJsonSchema

from app.db.tables import EventStatus
from app.saga.model import Action, HeldReason, Outcome, Phase, Reason, Status, StepStatus
from app.saga.refund_facts import RefundStanding

# No text column of PostgreSQL holds a NUL.
NO_NUL = r"^[^\x00]*$"
LONGEST_NOTE = 10_000  # characters: a page of prose, far from what would make a history slow to read

Note = Annotated[str, Field(max_length=LONGEST_NOTE, pattern=NO_NUL, description="Kept in the history.")]
AnyJson = Annotated[Any, WithJsonSchema({"description": "Any JSON."})]


class Shown(BaseModel):
    """The root of what goes out. Clients ignore fields that they do not know."""

    model_config = ConfigDict(extra="ignore")


class Taken(BaseModel):
    """The root of what comes in. A field that we do not know is a mistake, not a wish to be dropped in silence."""

    model_config = ConfigDict(extra="forbid")


class LastError(Shown):
    """The last failure."""

    kind: Literal["rejected", "unavailable", "unknown", "crashed"]
    status: int | None
    detail: str


class Step(Shown):
    """One step of the saga, and what is known of it."""

    name: str
    status: StepStatus
    result: AnyJson


class ExternalRefund(Shown):
    """What others gave back of the payment, as its provider has told: a refund in its dashboard, or a dispute."""

    id: str = Field(description="The provider's.")
    amount: int = Field(description="In minor units of the currency.")
    status: RefundStanding
    at: datetime


class Operation(Shown):
    """One payment on its way to be made good."""

    id: UUID
    source: str
    external_id: str
    order_id: str
    amount: int = Field(description="In minor units of the currency.")
    currency: str
    saga: str
    phase: Phase
    status: Status
    reason: Reason | None
    held_reason: HeldReason | None
    step: str
    failure_count: int
    revision: int
    next_run_at: datetime | None
    complete_by: datetime | None
    locked_by: str | None
    deadline: datetime
    cancel_requested_at: datetime | None
    occurred_at: datetime | None
    last_error: LastError | None
    why: str = Field(description="Why it stands where it stands, and what happens next.")
    steps: list[Step]
    external_refunds: list[ExternalRefund]
    allowed_actions: list[Literal["retry", "cancel", "resolve"]] = Field(description="What an operator may do now.")
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None


class Operations(Shown):
    """A page of operations, newest first."""

    items: list[Operation]
    next_cursor: str | None


class AttemptRequest(Shown):
    """What was sent; credentials are left out."""

    method: str
    url: str
    body: AnyJson


class AttemptResponse(Shown):
    """What came back."""

    status: int | None
    body: AnyJson


class Attempt(Shown):
    """One call out. Until it has ended, `response`, `outcome` and `finished_at` are null."""

    step: str
    action: Action
    attempt: int
    idempotency_key: str | None
    worker: str
    request: AttemptRequest
    response: AttemptResponse | None
    outcome: Outcome | None
    started_at: datetime
    finished_at: datetime | None


class Attempts(Shown):
    """All calls out of an operation, oldest first."""

    items: list[Attempt]


class Standing(Shown):
    """Where an operation stood."""

    phase: Phase
    status: Status


class Change(Shown):
    """One change of an operation. `from` is null in the first one, the creation."""

    revision: int
    from_: Standing | None = Field(alias="from")
    to: Standing
    cause: str
    actor: str
    at: datetime
    note: str | None


class History(Shown):
    """All changes of an operation, one a revision, oldest first."""

    items: list[Change]


class Event(Shown):
    """One delivered event; its redeliveries are counted."""

    id: UUID
    source: str
    delivery_id: str | None
    external_id: str | None
    deliveries: int
    status: EventStatus
    detail: str | None
    operation_id: UUID | None
    received_at: datetime
    payload: AnyJson


class Events(Shown):
    """A page of events, newest first."""

    items: list[Event]
    next_cursor: str | None


class Count(Shown):
    """How many operations stand so."""

    status: Status
    phase: Phase
    count: int


class Conservation(Shown):
    """Whether every payment is accounted for: `difference` is always 0."""

    payments: int
    succeeded: int
    refunded: int
    held: int
    under_way: int
    difference: int


class Stats(Shown):
    """The whole at a glance."""

    operations: list[Count]
    conservation: Conservation
    oldest_pending_seconds: float
    finished_per_minute: int


class WebhookAnswer(Shown):
    """What became of a delivered event."""

    status: EventStatus
    operation_id: UUID | None = None
    event_id: UUID | None = None
    event_type: str | None = None
    detail: str | None = None


class Alive(Shown):
    """A probe's answer."""

    status: str


class FieldFault(Shown):
    """What is wrong with one parameter or field of the body."""

    pointer: str = Field(description="A parameter's name, or a JSON pointer into the body.")
    detail: str


class Problem(Shown):
    """A problem (RFC 9457)."""

    type: str = Field(description="A page of this service that says what the problem means.")
    title: str
    status: int
    detail: str
    code: str
    retryable: bool = Field(description="Whether the same request may succeed later.")
    request_id: str | None
    errors: list[FieldFault] = []


class ActionBody(Taken):
    """What may be said with an operator's call."""

    note: Note | None = None


class CancelBody(ActionBody):
    """A cancel; `undo_succeeded` allows it where the purchase was made."""

    undo_succeeded: StrictBool = False


class BulkBody(ActionBody):
    """A call for many operations; `dry_run` only counts."""

    dry_run: StrictBool = False


class ResolveBody(Taken):
    """A human has settled the operation elsewhere."""

    outcome: Literal["succeeded", "refunded"]
    note: Annotated[Note, Field(min_length=1)]


class ResolveStepBody(Taken):
    """A human has settled one step elsewhere; the operation goes on."""

    step: str
    outcome: Literal["done", "undone"]
    note: Annotated[Note, Field(min_length=1)]


class Tally(Shown):
    """What became of a call for many operations."""

    matched: int = Field(description="How many the query names.")
    changed: int = Field(description="How many changed; in a dry run, how many would.")
