"""The first half of the atomic phase in the very transaction that takes the operation: the call is made ready before it.

That can be done where nothing has to be waited for: the call goes over HTTP, its agent's breaker is closed and has a
free slot. Whoever cannot be made ready so is taken without, and makes itself ready afterwards.
"""

import json
import logging
from collections.abc import Callable
from typing import NamedTuple
from uuid import UUID

from app.agents import Request, RequestRefused, Slot
from app.db.claim import Claimed
from app.db.operations import Begun
from app.saga import Sending, prepare
from app.saga.call import call_document
from app.saga.definition import LocalCall, RefundCall
from app.saga.model import Action, Json, Operation, Transition
from app.worker.execution import Parts, start_of

logger = logging.getLogger(__name__)

# Bytes. An attempt is counted before a payload is looked into that could bring the process down by its size: a larger
# one is taken first.
LARGEST_EVENT = 65_536


class Prepared(NamedTuple):
    """A call that goes out as soon as it is on record. The slot is held until it is over, or dropped."""

    sending: Sending
    request: Request
    slot: Slot
    begun: Begun


# The next call of an operation, as the claim makes it; the webhook's JSON is asked for if it is needed.
MakeReady = Callable[[Operation, Callable[[], Json]], Prepared | None]


def make_ready(parts: Parts, operation: Operation, event: Callable[[], Json]) -> Prepared | None:
    """The next call of an operation, ready to go out; None where that needs more than a look.

    Args:
        operation: as the claim makes it.
        event: the webhook's JSON.
    """
    try:
        return _ready(parts, operation, event)
    except Exception:
        # In a transaction of many it would fail them all: alone, afterwards, it fails itself and is counted.
        logger.exception("make_ready_failed", extra={"operation_id": operation.id})
        return None


def _ready(parts: Parts, operation: Operation, event: Callable[[], Json]) -> Prepared | None:
    saga = parts.sagas.known(operation.saga_hash)
    if saga is None or parts.draining.is_set():
        return None
    now = parts.clock.now()
    plan = prepare(saga, operation, now)
    if isinstance(plan, Transition) or isinstance(plan.call, LocalCall | RefundCall):
        return None
    document = call_document(plan.operation, plan.step, event(), undo=plan.action is Action.UNDO)
    try:
        request = parts.agents.render(plan, document, operation.traceparent)
    except RequestRefused:
        return None
    begun = Begun(plan.operation, start_of(parts, plan, request.recorded, now))
    slot = parts.agents.gate(request.agent).slot_now()
    return None if slot is None else Prepared(plan, request, slot, begun)


class Ahead:
    """The calls that are made ready while a claim is under way."""

    def __init__(self, make_ready: MakeReady) -> None:
        self._make_ready = make_ready
        self._prepared: dict[UUID, Prepared] = {}

    def begin(self, claimed: Claimed) -> Begun | None:
        """Makes an operation's call ready; asked a second time, where the claim is sent again, only the last one counts."""
        self.drop(claimed.operation.id)
        event = claimed.event
        if event is None or len(event) > LARGEST_EVENT or claimed.refunds_told:  # it hears of those first
            return None
        prepared = self._make_ready(claimed.operation, lambda: json.loads(event))
        if prepared is None:
            return None
        self._prepared[claimed.operation.id] = prepared
        return prepared.begun

    def take(self, operation_id: UUID) -> Prepared | None:
        """The call of an operation that was taken with it."""
        return self._prepared.pop(operation_id, None)

    def drop(self, operation_id: UUID) -> None:
        """Gives a call up that will not go out."""
        prepared = self.take(operation_id)
        if prepared is not None:
            prepared.slot.release()

    def drop_all(self) -> None:
        """Gives up what is left."""
        for operation_id in list(self._prepared):
            self.drop(operation_id)
