"""The table that says what an agent's answer means: done, rejected, unavailable or unknown.

Only an answer that has come whole is read by the table. One that broke off, also behind a 2xx or a 4xx, is unknown: the
repetition with the same key brings it whole, or other evidence does. Unknown is never wrong; done without the result that
the next step needs, or a refusal that we did not read to its end, could be.
"""

import json
import re
from codecs import BOM_UTF8
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import NoReturn

from app.agents.document import EVALUATION_ERRORS, compiled
from app.agents.redact import DEEPEST
from app.saga.definition import Lookup
from app.saga.model import Json, LastError, Outcome
from app.saga.signals import Found, LookupAnswered, StepDone, StepRejected, StepUnavailable, StepUnknown

StepAnswer = StepDone | StepRejected | StepUnavailable | StepUnknown

LARGEST_RESULT = 64 * 1024  # bytes; the contract's
LONGEST_RETRY_AFTER = timedelta(hours=24)  # the contract's

# A wait in seconds of more digits is longer than any that is kept, or too long to be read as a number at all.
_SECONDS_DIGITS = 9

# "Not now": the agent has not taken the request up. 503 belongs to them only with Retry-After: a proxy in front of an agent
# says 503 also where the agent has died in the middle of the work.
NOT_NOW = frozenset({408, 409, 425, 429})


_SUCCESS = 2  # the first digit of a status
_REFUSAL = 4


class NotJson(ValueError):
    """A body that is no JSON that can be kept."""


def _refuse(constant: str) -> NoReturn:
    raise NotJson(f"{constant} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if number in {float("inf"), float("-inf")}:
        raise NotJson("a number beyond all bounds")
    return number


_JSON_SPACE = " \t\n\r"

# Made once: json.loads makes one for every call that asks for anything special.
_DECODER = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)


@dataclass(slots=True)  # frozen, it would cost three times as much to make
class Reply:
    """An answer that came whole, or went on beyond what is read of it. It is not changed once it is made.

    Args:
        body: what was read of it.
        since_sent: seconds since the request was written.
        largest: bytes of a body that is read as JSON.
        headers: by their names in lower case, where they are looked at.
        json: what the body says; None also where it says nothing.
        is_json: whether the body is JSON of up to `largest` bytes.
    """

    status: int
    retry_after: str | None = None
    body: bytes = b""
    since_sent: float = field(default=0.0, compare=False)
    largest: int = field(default=LARGEST_RESULT, compare=False)
    headers: Mapping[str, str] | None = None
    json: Json = field(init=False, default=None)
    is_json: bool = field(init=False, default=False)

    @property
    def succeeded(self) -> bool:
        """Whether the status is 2xx."""
        return self.status // 100 == _SUCCESS

    def __post_init__(self) -> None:
        try:
            self.json = parse(self.body, self.largest)
        except NotJson:
            return
        self.is_json = True


@dataclass(frozen=True, slots=True)
class NoReply:
    """A call that brought no whole answer.

    Args:
        sent: whether any of it may have arrived.
        status: of an answer that began and broke off.
        body: what had come of it until then.
        since_sent: seconds since the request was written, if it was.
    """

    detail: str
    sent: bool
    status: int | None = None
    body: bytes = b""
    since_sent: float = field(default=0.0, compare=False)


def parse(body: bytes, largest: int = LARGEST_RESULT) -> Json:
    """The JSON of an answer.

    Args:
        largest: bytes of a body that is read.

    Raises:
        NotJson: it is empty or too large, is not JSON or not UTF-8, has NaN or a number beyond all bounds in it, or is
            nested absurdly deep.
    """
    if not body or len(body) > largest:
        raise NotJson("empty, or too large")
    try:
        text = body.decode("utf-8-sig" if body.startswith(BOM_UTF8) else "utf-8").strip(_JSON_SPACE)
        value, end = _DECODER.raw_decode(text)
        if end < len(text):
            raise NotJson(f"more behind it, from character {end} on")
    except (RecursionError, ValueError) as error:
        raise NotJson(str(error)) from error
    if text.count("[") + text.count("{") > DEEPEST and _is_deeper(value, DEEPEST):
        raise NotJson("nested too deep")
    return value


def step_answer(reply: Reply, now: datetime, excerpt: str) -> StepAnswer:
    """What an answer says of the sending that it answers.

    Args:
        now: for a Retry-After in seconds.
        excerpt: of the body, for the operator; without credentials. A 2xx needs none.
    """
    if reply.succeeded:
        return StepDone(reply.json)
    status = reply.status
    said = f"{status} {_phrase(status)}".strip() + (f": {excerpt}" if excerpt else "")
    retry_at = read_retry_after(reply.retry_after, now)
    # A Retry-After that cannot be read counts as none: it is no sign of an agent that knows what it does.
    if status in NOT_NOW or (status == HTTPStatus.SERVICE_UNAVAILABLE and retry_at is not None):
        return StepUnavailable(LastError(Outcome.UNAVAILABLE, f"not now: {said}", status), retry_at)
    if status // 100 == _REFUSAL:
        return StepRejected(LastError(Outcome.REJECTED, f"refused: {said}", status))
    return StepUnknown(LastError(Outcome.UNKNOWN, f"answered {said}", status), retry_at)


def no_answer(reply: NoReply) -> StepUnavailable | StepUnknown:
    """What a call without a whole answer says of itself."""
    if reply.sent:
        return StepUnknown(LastError(Outcome.UNKNOWN, reply.detail, reply.status))
    return StepUnavailable(LastError(Outcome.UNAVAILABLE, reply.detail), arrived=False)


def lookup_answer(lookup: Lookup, reply: Reply, answer: StepAnswer) -> LookupAnswered:
    """What the answer to a lookup says of the step that was asked for.

    Args:
        answer: what the table says of the lookup's own sending.
    """
    if reply.status == HTTPStatus.NOT_FOUND:
        return LookupAnswered(Found.ABSENT)
    if not isinstance(answer, StepDone):
        return unclear(answer)
    verdict = True if lookup.done is None else _verdict(lookup.done, reply)
    if verdict is True:
        return LookupAnswered(Found.DONE, result=answer.result)
    if verdict is False:
        return LookupAnswered(Found.ABSENT)
    detail = f"the lookup was answered {reply.status}, and `done` says neither true nor false of the body"
    return LookupAnswered(Found.UNCLEAR, error=LastError(Outcome.UNKNOWN, detail, reply.status))


def unclear(answer: StepRejected | StepUnavailable | StepUnknown) -> LookupAnswered:
    """A lookup that brought no evidence. However it failed itself, the step that it asked for stays unknown."""
    error = LastError(Outcome.UNKNOWN, f"lookup: {answer.error.detail}", answer.error.status)
    retry_at = None if isinstance(answer, StepRejected) else answer.retry_at
    return LookupAnswered(Found.UNCLEAR, error=error, retry_at=retry_at)


def read_retry_after(value: str | None, now: datetime) -> datetime | None:
    """The time that a Retry-After names, 24 h from now at most; None where there is none that can be read.

    A date that has passed gives `now`: it can be read, and asks for no wait.
    """
    text = (value or "").strip()
    if re.fullmatch(r"[0-9]+", text):
        wait = timedelta(seconds=int(text)) if len(text) <= _SECONDS_DIGITS else LONGEST_RETRY_AFTER
    else:
        try:
            date = parsedate_to_datetime(text)
        except (IndexError, OverflowError, TypeError, ValueError):
            return None
        wait = (date if date.tzinfo else date.replace(tzinfo=UTC)) - now
    return now + min(max(wait, timedelta(0)), LONGEST_RETRY_AFTER)


def _verdict(done: str, reply: Reply) -> Json:
    if not reply.is_json:
        return None
    try:
        return compiled(done).search(reply.json)
    except EVALUATION_ERRORS:
        return None


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _is_deeper(value: Json, most: int) -> bool:
    level = [value]
    for _ in range(most + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return False
    return True
