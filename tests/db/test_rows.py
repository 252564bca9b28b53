"""Rows become operations, and operations rows, with nothing lost between."""

import json
from dataclasses import asdict, fields
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.db.rows import (
    OPERATION_COLUMNS,
    bucket_of,
    last_error_json,
    last_error_of,
    operation_of,
    steps_json,
    steps_of,
)
from app.saga.model import LastError, Operation, Outcome, Phase, RefundState, Sendings, Status, StepState, StepStatus

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)

times = st.none() | st.datetimes(timezones=st.just(UTC))
flags = st.booleans()
sendings = st.builds(
    Sendings,
    count=st.integers(0, 99),
    first_at=times,
    last_at=times,
    unknown=st.integers(0, 9),
    out=flags,
    refused=flags,
    conflict=flags,
)
results = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
refunds = st.builds(
    RefundState,
    number=st.integers(1, 9),
    amount=st.none() | st.integers(1, 9999),
    basis=results,
    id=st.none() | st.text(),
    former=st.lists(st.text()).map(tuple),
    failed=st.booleans(),
    elsewhere=st.booleans(),
)
steps = st.builds(
    StepState,
    name=st.text(),
    status=st.sampled_from(StepStatus),
    result=results,
    did=flags,
    absent=flags,
    settled=flags,
    do=sendings,
    undo=sendings,
    refund=refunds,
)


@given(st.lists(steps, max_size=4).map(tuple))
def test_steps_come_back_as_they_were_written(written: tuple[StepState, ...]) -> None:
    assert steps_of(steps_json(written)) == written
    assert steps_of(json.loads(steps_json(written))) == written


def test_new_operations_of_a_saga_share_what_is_known_of_their_steps() -> None:
    new = steps_json([StepState("payment", StepStatus.DONE, did=True), StepState('a":{"b')])
    assert steps_of(new) == steps_of(json.loads(new))
    plain = steps_json([StepState("payment", StepStatus.DONE, did=True), StepState("hotel")])
    assert steps_of(plain) is steps_of(plain)
    answered = steps_json([StepState("hotel", StepStatus.DONE, did=True, result=[])])
    assert steps_of(answered)[0].result is not steps_of(answered)[0].result


def test_all_that_is_known_of_sendings_is_written() -> None:
    known = Sendings(1, NOON, NOON + timedelta(seconds=1), 2, out=True, refused=True, conflict=True)
    assert all(getattr(known, field.name) != field.default for field in fields(Sendings))
    (step,) = steps_of(steps_json([StepState("hotel", do=known, undo=known)]))
    assert (step.do, step.undo) == (known, known)


def test_integers_of_an_agents_answer_stay_exact_at_any_size() -> None:
    (step,) = steps_of(steps_json([StepState("hotel", StepStatus.DONE, result={"ref": 2**80, "price": 0.1})]))
    assert step.result == {"ref": 2**80, "price": 0.1}
    assert isinstance(step.result["ref"], int)


def test_a_step_that_was_not_begun_is_its_name_and_status_alone() -> None:
    assert steps_json([StepState("hotel")]) == '[{"name":"hotel","status":"todo"}]'


def test_a_lone_surrogate_in_a_result_can_be_encoded_for_the_database() -> None:
    text = steps_json([StepState("hotel", result="\ud800")])
    assert text.encode() == rb'[{"name":"hotel","status":"todo","result":"\ud800"}]'
    assert steps_of(text)[0].result == "\ud800"


def test_what_json_does_not_have_is_refused_before_it_reaches_the_database() -> None:
    with pytest.raises(ValueError, match="JSON"):
        steps_json([StepState("hotel", result=float("inf"))])


@pytest.mark.parametrize(
    "error", [None, LastError(Outcome.UNKNOWN, "no answer within 10 s"), LastError(Outcome.REJECTED, "sold out", 422)]
)
def test_the_last_error_comes_back_as_it_was_written(error: LastError | None) -> None:
    assert last_error_of(last_error_json(error)) == error


def test_an_operation_is_made_from_a_record_whose_words_and_json_are_text() -> None:
    record = {
        **dict.fromkeys(OPERATION_COLUMNS),
        "id": UUID(int=7),
        "phase": "refund",
        "status": "held",
        "reason": "rejected",
        "held_reason": "cannot_undo",
        "action": "undo",
        "steps": '[{"name":"payment","status":"done","do":{"count":1,"last_at":"2026-11-22T12:00:00+00:00"}}]',
        "last_error": '{"kind":"rejected","status":null,"detail":"sold out"}',
        "deadline": NOON + timedelta(hours=1),
    }
    operation = operation_of(record)
    assert isinstance(operation, Operation)
    assert (operation.phase, operation.status) == (Phase.REFUND, Status.HELD)
    assert operation.steps == (StepState("payment", StepStatus.DONE, do=Sendings(count=1, last_at=NOON)),)
    assert operation.last_error == LastError(Outcome.REJECTED, "sold out")
    assert set(asdict(operation)) == set(OPERATION_COLUMNS)


def test_bucket_is_the_id_modulo_the_number_of_buckets() -> None:
    assert bucket_of(UUID(int=2**127 + 5), 1) == 0
    assert bucket_of(UUID(int=2**127 + 5), 32) == 5
