"""What a provider reads of the answers to its questions, put into the machine's words: refunds, or why there are none."""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from http import HTTPStatus
from typing import Any, TypeVar

from app.agents.answer import StepAnswer, read_retry_after, unclear
from app.agents.redact import one_line
from app.agents.request import Endpoint
from app.providers.refunds import Answered, Listed, Refund, Refunds, Refusal, Verdict, Wanted, known_refund
from app.saga import Sending
from app.saga.model import Action, Json, LastError, Outcome
from app.saga.refund_facts import KnownRefund, RefundStanding
from app.saga.signals import (
    Answer,
    Found,
    LookupAnswered,
    RefundAnswered,
    RefundBlocked,
    RefundsListed,
    StepDone,
    StepRejected,
    StepUnavailable,
    StepUnknown,
)

logger = logging.getLogger(__name__)

# What an answer means: what came, and what the table for all agents says of it.
Read = Callable[[Answered, StepAnswer], Answer]

LONGEST_DETAIL = 500  # characters of what a provider says

# Bytes of an answer that is read: a hundred refunds, each with all the fields of its own that a provider allows. What is
# kept of it for the attempts is cut as for any agent.
LARGEST_ANSWERED = 4 * 1024 * 1024

Result = TypeVar("Result")


class Listing:
    """The pages of one list of refunds, as they come.

    Args:
        told: what events have told of refunds; it is part of the list.
    """

    def __init__(self, protocol: Refunds, wanted: Wanted, told: tuple[KnownRefund, ...]) -> None:
        self._protocol = protocol
        self._wanted = wanted
        self._refunds = told
        self._paid: int | None = None
        self._basis: Json = None
        self.next_page: str | None = None

    def read(self, answered: Answered, by_table: StepAnswer) -> Answer:
        """What one page says, with those before it. `next_page` is what asks for the next one."""
        self.next_page = None
        if not isinstance(by_table, StepDone):
            return unclear(by_table)
        listed = _guarded(lambda: self._protocol.found(self._wanted, answered))
        if not isinstance(listed, Listed):
            detail = f"the list of refunds was answered {answered.status}, and cannot be read"
            return LookupAnswered(Found.UNCLEAR, error=LastError(Outcome.UNKNOWN, detail, answered.status))
        self._refunds += tuple(known_refund(refund) for refund in listed.refunds)
        self._paid = listed.paid if listed.paid is not None else self._paid
        self._basis = listed.basis if listed.basis is not None else self._basis
        self.next_page = listed.next_page
        return self.whole(complete=self._protocol.complete)

    def whole(self, *, complete: bool) -> RefundsListed:
        """What has come so far; `complete`: whether it proves that what is not in it was not made."""
        return RefundsListed(self._refunds, self._paid, complete, self._protocol.ask_again, self._basis)


def read_wish(protocol: Refunds, wanted: Wanted, now: datetime) -> Read:
    """How the answer to a wish for a refund is read."""

    def read(answered: Answered, by_table: StepAnswer) -> Answer:
        given = _guarded(lambda: protocol.given(wanted, answered))
        if isinstance(given, Refund):
            return RefundAnswered(replace(known_refund(given), key=wanted.key), protocol.ask_again)
        if isinstance(given, Refusal):
            return _refused(given, answered, now)
        if isinstance(by_table, StepDone):
            detail = f"answered {answered.status}, and no refund can be read of it"
            return StepUnknown(LastError(Outcome.UNKNOWN, detail, answered.status))
        return by_table

    return read


def _refused(refusal: Refusal, answered: Answered, now: datetime) -> Answer:
    retry_at = read_retry_after(answered.headers.get("retry-after"), now)

    def error(kind: Outcome) -> LastError:
        return LastError(kind, refusal.detail, answered.status)

    match refusal.verdict:
        case Verdict.REJECTED:
            return StepRejected(error(Outcome.REJECTED))
        case Verdict.UNAVAILABLE:
            return StepUnavailable(error(Outcome.UNAVAILABLE), retry_at)
        case Verdict.UNKNOWN:
            return StepUnknown(error(Outcome.UNKNOWN), retry_at)
        case Verdict.LOOK_AGAIN:
            # Behind a 5xx the wish may have been carried out; any other answer says that it was looked at and refused.
            certain = answered.status < HTTPStatus.INTERNAL_SERVER_ERROR
            return RefundBlocked(error(Outcome.UNAVAILABLE if certain else Outcome.UNKNOWN), certain)


def _guarded(read: Callable[[], Result]) -> Result | None:
    """What a provider reads; None where it stumbles over an answer that nobody has thought of: nothing is known then."""
    try:
        return read()
    except Exception:
        logger.exception("answer_unreadable")
        return None


def unclear_question(sending: Sending, answer: StepAnswer) -> Answer:
    """What it means that a question brought no whole answer."""
    if sending.action is Action.LOOKUP and not isinstance(answer, StepDone):
        return unclear(answer)
    return answer


def without_secrets(answer: Answer, endpoint: Endpoint) -> Answer:
    """The answer, with no credential in what it tells of its failure."""
    error: LastError | None = getattr(answer, "error", None)
    if error is None:
        return answer
    changed: Any = answer
    clean: Answer = replace(
        changed, error=replace(error, detail=one_line(endpoint.redactor.text(error.detail), LONGEST_DETAIL))
    )
    return clean


def outcome_of(answer: Answer) -> Outcome:
    """How the attempt of a question ended, by what its answer means."""
    match answer:
        case RefundsListed() | StepDone():
            return Outcome.DONE
        case RefundAnswered(refund=refund):
            return Outcome.REJECTED if refund.standing is RefundStanding.FAILED else Outcome.DONE
        case RefundBlocked(certain=True) | StepRejected():
            return Outcome.REJECTED
        case StepUnavailable():
            return Outcome.UNAVAILABLE
        case _:
            return Outcome.UNKNOWN
