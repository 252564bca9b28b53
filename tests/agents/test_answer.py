"""The table of the contract, row by row: what an answer says of the sending that it answers."""

import json
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from app.agents.answer import (
    LARGEST_RESULT,
    NoReply,
    NotJson,
    Reply,
    lookup_answer,
    no_answer,
    parse,
    read_retry_after,
    step_answer,
)
from app.saga.definition import Lookup
from app.saga.model import LastError, Outcome
from app.saga.signals import Found, LookupAnswered, StepDone, StepRejected, StepUnavailable, StepUnknown
from tests.builders import NOW

NOT_NOW = [408, 409, 425, 429]
REFUSALS = [status for status in range(400, 500) if status not in NOT_NOW]
NOBODY_KNOWS = [100, 101, 199, 300, 301, 302, 303, 304, 307, 308, *range(500, 512), 599, 600, 999]


@pytest.mark.parametrize("status", [200, 201, 202, 203, 204, 206, 299])
def test_2xx_is_done(status: int) -> None:
    assert step_answer(Reply(status, body=b'{"ref": 1}'), NOW, "") == StepDone({"ref": 1})


@pytest.mark.parametrize("status", NOT_NOW)
@pytest.mark.parametrize("retry_after", [None, "rubbish", "7"])
def test_not_now_is_unavailable_with_or_without_retry_after(status: int, retry_after: str | None) -> None:
    answer = step_answer(Reply(status, retry_after), NOW, "busy")
    assert isinstance(answer, StepUnavailable)
    assert answer.arrived
    assert answer.error.kind is Outcome.UNAVAILABLE
    assert answer.error.status == status
    assert answer.error.detail.startswith(f"not now: {status} ")
    assert answer.retry_at == (NOW + timedelta(seconds=7) if retry_after == "7" else None)


@pytest.mark.parametrize("retry_after", ["0", "120", "Thu, 01 Jan 2026 12:00:07 GMT", "Wed, 31 Dec 2025 12:00:00 GMT"])
def test_503_with_retry_after_is_unavailable(retry_after: str) -> None:
    answer = step_answer(Reply(503, retry_after), NOW, "")
    assert isinstance(answer, StepUnavailable)
    assert answer.retry_at is not None
    assert answer.retry_at >= NOW


@pytest.mark.parametrize("retry_after", [None, "", "soon", "-1"])
def test_503_without_a_retry_after_that_can_be_read_is_unknown(retry_after: str | None) -> None:
    """Trap 7: a proxy says 503 also where the agent has died in the middle of the work."""
    answer = step_answer(Reply(503, retry_after), NOW, "")
    assert answer == StepUnknown(LastError(Outcome.UNKNOWN, "answered 503 Service Unavailable", 503))


@pytest.mark.parametrize("status", REFUSALS)
def test_other_4xx_is_rejected(status: int) -> None:
    answer = step_answer(Reply(status), NOW, "sold out")
    assert isinstance(answer, StepRejected)
    assert answer.error.kind is Outcome.REJECTED
    assert answer.error.status == status
    assert answer.error.detail.startswith(f"refused: {status}")
    assert answer.error.detail.endswith(": sold out")


@pytest.mark.parametrize("status", NOBODY_KNOWS)
def test_everything_else_is_unknown(status: int) -> None:
    """Trap 7: an error of the wrong class: what may have been carried out is taken for what was not, or for refused."""
    if status == 503:
        return
    answer = step_answer(Reply(status, body=b'{"ok": true}'), NOW, "")
    assert isinstance(answer, StepUnknown)
    assert answer.error.kind is Outcome.UNKNOWN
    assert answer.error.status == status


def test_the_detail_names_the_refusal_as_an_operator_reads_it() -> None:
    answer = step_answer(Reply(422), NOW, '{"message": "no such room"}')
    assert isinstance(answer, StepRejected)
    assert answer.error.detail == 'refused: 422 Unprocessable Entity: {"message": "no such room"}'


def test_nothing_sent_is_unavailable_and_has_not_arrived() -> None:
    answer = no_answer(NoReply("no connection: Connection refused", sent=False))
    error = LastError(Outcome.UNAVAILABLE, "no connection: Connection refused")
    assert answer == StepUnavailable(error, None, arrived=False)


def test_sent_and_not_answered_is_unknown() -> None:
    answer = no_answer(NoReply("no answer within 10 s", sent=True))
    assert answer == StepUnknown(LastError(Outcome.UNKNOWN, "no answer within 10 s"))


# --- the result ---


def test_a_result_may_have_up_to_64_kib() -> None:
    body = b'"' + b"x" * (LARGEST_RESULT - 2) + b'"'
    assert parse(body) == "x" * (LARGEST_RESULT - 2)
    with pytest.raises(NotJson):
        parse(body + b" ")


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"null", None),
        (b"false", False),
        (b" [1, 2.5] ", [1, 2.5]),
        (b"\xef\xbb\xbf{}", {}),
        (b"9" * 40, int("9" * 40)),
        (b'"\\u0000\\ud800"', "\x00\ud800"),
        (b"[" * 100 + b"]" * 100, ...),
        (json.dumps(["[{" * 200]).encode(), ["[{" * 200]),
    ],
)
def test_json_is_the_result(body: bytes, value: Any) -> None:
    reply = Reply(200, body=body)
    assert reply.is_json
    assert value is ... or step_answer(reply, NOW, "") == StepDone(value)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>ok</html>",
        b"{",
        b"NaN",
        b'{"a": Infinity}',
        b"[1e999]",
        b"[-1e999]",
        b'"\xff"',
        b'"\x00"',
        "{}".encode("utf-16"),
        b"9" * 5000,
        b"[" * 102 + b"]" * 102,
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        b"[" * 60_000,
        b" " * (LARGEST_RESULT + 1),
    ],
)
def test_what_is_no_json_leaves_the_step_done_with_no_result(body: bytes) -> None:
    reply = Reply(200, body=body)
    assert not reply.is_json
    assert step_answer(reply, NOW, "") == StepDone(None)


# --- Retry-After ---


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("1", 1),
        (" 90 ", 90),
        ("86400", 86400),
        ("86401", 86400),
        ("9" * 5000, 86400),
        ("Thu, 01 Jan 2026 13:00:00 GMT", 3600),
        ("Thursday, 01-Jan-26 12:00:10 GMT", 10),
        ("Thu Jan  1 12:00:10 2026", 10),
        ("Thu, 01 Jan 2026 12:00:10 -0000", 10),
        ("Fri, 01 Jan 2027 12:00:00 GMT", 86400),
        ("Wed, 31 Dec 2025 12:00:00 GMT", 0),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_24_h_at_most(value: str, seconds: int) -> None:
    assert read_retry_after(value, NOW) == NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "value",
    [None, "", " ", "-5", "+5", "1.5", "soon", "٣", "1e3", "2026-01-01T12:00:10Z", "Thu, 99 Foo 2026", "1 2", "\x00"],
)
def test_a_retry_after_that_cannot_be_read_is_none(value: str | None) -> None:
    assert read_retry_after(value, NOW) is None


def test_every_date_that_python_can_write_can_be_read() -> None:
    later = NOW + timedelta(minutes=5)
    assert read_retry_after(format_datetime(later, usegmt=True), NOW) == later


# --- lookups ---

DONE_IF = Lookup("supplier", "GET", "/p", done="status == 'confirmed'")
ANY_2XX = Lookup("supplier", "GET", "/p")


def asked(lookup: Lookup, reply: Reply) -> LookupAnswered:
    return lookup_answer(lookup, reply, step_answer(reply, NOW, ""))


def test_a_lookup_that_is_answered_done_brings_the_result() -> None:
    reply = Reply(200, body=b'{"status": "confirmed", "ref": 7}')
    assert asked(DONE_IF, reply) == LookupAnswered(Found.DONE, result={"status": "confirmed", "ref": 7})


@pytest.mark.parametrize("body", [b'{"ref": 7}', b"", b"<ok/>"])
def test_without_done_every_2xx_says_that_it_was_done(body: bytes) -> None:
    assert asked(ANY_2XX, Reply(200, body=body)).found is Found.DONE


@pytest.mark.parametrize("lookup", [DONE_IF, ANY_2XX])
def test_404_says_that_it_was_not_done(lookup: Lookup) -> None:
    assert asked(lookup, Reply(404, body=b'{"status": "confirmed"}')) == LookupAnswered(Found.ABSENT)


@pytest.mark.parametrize("body", [b'{"status": "failed"}', b'{"status": null}', b"{}"])
def test_done_false_says_that_it_was_not_done(body: bytes) -> None:
    assert asked(DONE_IF, Reply(200, body=body)) == LookupAnswered(Found.ABSENT)


@pytest.mark.parametrize("done", ["status", "missing", "`null`", "`1`", "'true'", "length(status)", "sum(status)", "@"])
def test_done_that_is_neither_true_nor_false_says_nothing(done: str) -> None:
    found = asked(Lookup("supplier", "GET", "/p", done=done), Reply(200, body=b'{"status": "true"}'))
    assert found.found is Found.UNCLEAR
    assert found.error is not None
    assert found.error.kind is Outcome.UNKNOWN


@pytest.mark.parametrize("body", [b"", b"<html>", b"{", b" " * 70_000 + b"{}"])
def test_a_body_that_is_no_json_says_nothing_where_done_is_to_read_it(body: bytes) -> None:
    assert asked(DONE_IF, Reply(200, body=body)).found is Found.UNCLEAR


@pytest.mark.parametrize("status", [302, 400, 401, 403, 410, 422, 429, 500, 502, 503])
def test_any_other_answer_to_a_lookup_proves_nothing(status: int) -> None:
    found = asked(DONE_IF, Reply(status, "60", b'{"status": "confirmed"}'))
    assert found.found is Found.UNCLEAR
    assert found.error is not None
    assert found.error.kind is Outcome.UNKNOWN
    assert found.error.status == status
    assert found.retry_at == (None if status in {400, 401, 403, 410, 422} else NOW + timedelta(seconds=60))
