"""A call is made ready before its operation is taken, where nothing has to be waited for; no slot is ever lost by it."""

import asyncio
import json
import logging
from dataclasses import replace
from datetime import timedelta

import pytest

from app.agents import RequestRefused
from app.db.claim import Claimed
from app.saga import Sending, prepare
from app.saga.definition import LocalCall, Saga, Step
from app.saga.model import Action, Phase, Reason, StepState, StepStatus
from app.worker import ahead
from app.worker.ahead import LARGEST_EVENT, Ahead, make_ready
from app.worker.call import send, send_prepared
from app.worker.execution import Execution
from tests.builders import purchase_saga
from tests.worker.bench import OPEN, Bench
from tests.worker.stage import REQUEST, SaidStore, claimed, execution_of

LOCAL = LocalCall("tests.road.steps:pack", timedelta(seconds=1))


def test_a_call_over_http_is_made_ready_as_it_would_be_begun_and_holds_its_slot() -> None:
    bench = Bench()
    prepared = bench.ready()
    assert prepared is not None
    sending = prepare(bench.saga, bench.one, bench.clock.now())
    assert isinstance(sending, Sending)
    assert prepared.sending == sending
    start = prepared.begun.start
    assert prepared.begun.operation == sending.operation
    assert (start.operation_id, start.lease, start.step, start.action, start.attempt, start.key) == (
        bench.one.id,
        bench.one.lease,
        "purchase",
        Action.DO,
        1,
        sending.key,
    )
    assert (start.worker, start.request, start.at) == ("worker-1", REQUEST.recorded, bench.clock.now())
    [document] = bench.agents.documents
    assert document["event"] == {"type": "payment.received"}
    assert bench.free == 1
    prepared.slot.release()
    assert bench.free == 2


@pytest.mark.parametrize("action", [Action.DO, Action.UNDO])
async def test_the_request_is_made_of_what_it_would_be_made_of_after_the_claim(action: Action) -> None:
    """Another request under the same idempotency key would be refused."""
    bench = Bench()
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    bench.one = replace(bench.one, traceparent=trace)
    if action is Action.UNDO:
        bought = StepState("purchase", StepStatus.DONE, did=True, result={"ref": "A"})
        bench.one = replace(bench.one, phase=Phase.REFUND, reason=Reason.CANCELLED, action=action)
        bench.one = replace(bench.one, steps=(bench.one.steps[0], bought))  # its undo reads its result
    prepared = bench.ready()
    assert prepared is not None
    assert prepared.sending.action is action
    one = Claimed(bench.one, claimed().from_status, b'{"type": "payment.received"}')
    store = SaidStore()
    execution = execution_of(Execution, store, bench.agents, bench.clock, one)
    await send(execution, bench.one, prepared.sending)
    assert bench.agents.documents[0] == bench.agents.documents[1]
    assert bench.agents.traces == [trace, trace]
    assert store.begun == [prepared.begun.start]


def test_what_needs_no_call_or_another_kind_of_call_is_not_made_ready(caplog: pytest.LogCaptureFixture) -> None:
    payment, _ = purchase_saga().steps
    for saga in (Saga("purchase", (payment,)), Saga("purchase", (payment, Step("pack", do=LOCAL, undo=None)))):
        bench = Bench(saga=saga)
        assert bench.ready() is None
        assert (bench.free, bench.agents.documents) == (2, [])
    overdue = Bench()
    overdue.clock.advance(timedelta(days=2))
    assert overdue.ready() is None
    assert overdue.free == 2
    assert not caplog.records


def test_a_saga_that_this_process_has_not_met_and_the_end_of_the_process_make_none_ready(
    caplog: pytest.LogCaptureFixture,
) -> None:
    unknown = Bench()
    unknown.one = replace(unknown.one, saga_hash="0" * 64)
    assert unknown.ready() is None
    ending = Bench()
    ending.parts.draining.set()
    assert ending.ready() is None
    assert (unknown.free, ending.free) == (2, 2)
    assert unknown.agents.documents == ending.agents.documents == []
    assert not caplog.records


def test_a_request_that_must_not_be_sent_is_left_to_the_ordinary_way_without_a_word(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench()
    bench.agents.wrong = RequestRefused("the path needs {order_id}, which is missing")
    assert bench.ready() is None
    assert bench.free == 2
    assert not caplog.records


def test_what_breaks_while_it_is_made_ready_breaks_nobody_beside_it(caplog: pytest.LogCaptureFixture) -> None:
    """Trap 28: in a transaction of many it would fail them all."""
    bench = Bench()
    bench.agents.wrong = KeyError("a mistake")
    assert bench.ready() is None
    bench.agents.wrong = None
    assert bench.ready(lambda: json.loads("no json")) is None
    assert bench.free == 2
    assert [(one.getMessage(), one.levelno) for one in caplog.records] == [("make_ready_failed", logging.ERROR)] * 2


def test_an_open_breaker_and_taken_slots_make_none_ready() -> None:
    bench = Bench(slots=1)
    prepared = bench.ready()
    assert prepared is not None
    assert bench.ready() is None
    prepared.slot.release()
    bench.agents.one_gate.failed(bench.clock.now())
    assert bench.ready() is None
    bench.clock.advance(OPEN)
    probe = bench.ready()
    assert probe is not None
    assert bench.ready() is None
    probe.slot.release()
    assert bench.ready() is not None


def ahead_of(bench: Bench) -> Ahead:
    return Ahead(lambda operation, event: make_ready(bench.parts, operation, event))


def one_of(bench: Bench, event: bytes | None = b'{"type": "payment.received"}') -> Claimed:
    return Claimed(bench.one, claimed().from_status, event)


def test_the_claim_gets_the_first_half_and_the_worker_the_call() -> None:
    bench = Bench()
    calls = ahead_of(bench)
    begun = calls.begin(one_of(bench))
    prepared = calls.take(bench.one.id)
    assert prepared is not None
    assert begun is prepared.begun
    assert calls.take(bench.one.id) is None
    calls.drop_all()
    assert bench.free == 1  # what was taken is not dropped
    prepared.slot.release()


def test_a_claim_that_is_sent_again_asks_again_and_one_slot_is_held() -> None:
    bench = Bench(slots=1)
    calls = ahead_of(bench)
    first = calls.begin(one_of(bench))
    second = calls.begin(one_of(bench))
    assert first is not None
    assert second is not None
    assert first is not second
    assert bench.free == 0
    prepared = calls.take(bench.one.id)
    assert prepared is not None
    assert prepared.begun is second
    prepared.slot.release()
    assert bench.free == 1


def test_asked_again_and_not_ready_any_more_the_first_word_does_not_count() -> None:
    """What another worker has taken meanwhile, or a breaker that has opened: on record it is claimed alone."""
    bench = Bench()
    calls = ahead_of(bench)
    assert calls.begin(one_of(bench)) is not None
    bench.agents.one_gate.failed(bench.clock.now())
    assert calls.begin(one_of(bench)) is None
    assert calls.take(bench.one.id) is None
    bench.clock.advance(OPEN)
    bench.agents.one_gate.answered()
    assert bench.free == 2


def test_what_is_left_is_given_up() -> None:
    bench = Bench()
    calls = ahead_of(bench)
    calls.begin(one_of(bench))
    bench.one = replace(bench.one, id=claimed("pay_2").operation.id)
    calls.begin(one_of(bench))
    assert bench.free == 0
    calls.drop_all()
    assert bench.free == 2
    assert calls.take(bench.one.id) is None


def test_a_large_event_and_one_that_was_emptied_are_taken_first() -> None:
    """Trap 28: the attempt is counted before a payload is looked into that could bring the process down."""
    bench = Bench()
    calls = ahead_of(bench)
    largest = b'"' + b"x" * (LARGEST_EVENT - 2) + b'"'
    assert calls.begin(one_of(bench, largest + b" ")) is None
    assert calls.begin(one_of(bench, None)) is None
    assert bench.agents.documents == []
    assert calls.begin(one_of(bench, largest)) is not None
    assert len(bench.agents.documents[0]["event"]) == LARGEST_EVENT - 2
    calls.drop_all()
    assert bench.free == 2
    assert ahead.LARGEST_EVENT == 65_536


@pytest.mark.parametrize("late", ["in time", "the lease is over", "the deadline has passed"])
async def test_a_call_that_was_put_on_record_with_its_claim_goes_out_once_if_it_still_may(late: str) -> None:
    bench = Bench()
    prepared = bench.ready()
    assert prepared is not None
    store = SaidStore()
    one = Claimed(prepared.sending.operation, claimed().from_status, None)
    execution = execution_of(Execution, store, bench.agents, bench.clock, one)
    if late == "the lease is over":
        bench.clock.advance(timedelta(seconds=30))
    if late == "the deadline has passed":
        bench.clock.advance(timedelta(days=2))
        execution.parts.leases._duration = timedelta(days=3)
        execution._lease.until = bench.clock.monotonic() + 10
    left = await send_prepared(execution, prepared)
    assert left is not None
    assert bench.agents.calls == (late == "in time")
    assert [end.outcome for end in store.ends] == ["done" if late == "in time" else "unavailable"]
    assert store.begun == []
    assert bench.free == 2


async def test_a_call_that_breaks_or_is_cut_off_gives_its_slot_back() -> None:
    bench = Bench()
    for error in (ValueError("a mistake"), asyncio.CancelledError()):
        prepared = bench.ready()
        assert prepared is not None

        async def broken(wrong: BaseException = error) -> None:
            raise wrong

        bench.agents.meanwhile = broken
        one = Claimed(prepared.sending.operation, claimed().from_status, None)
        with pytest.raises(type(error)):
            await send_prepared(execution_of(Execution, SaidStore(), bench.agents, bench.clock, one), prepared)
        assert bench.free == 2
