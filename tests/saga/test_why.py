"""The sentence that says why an operation stands where it stands."""

from dataclasses import replace

import pytest

from app.saga.definition import Saga
from app.saga.model import Action, HeldReason, LastError, Operation, Outcome, Status
from app.saga.signals import (
    CancelRequested,
    DeadlinePassed,
    Deferred,
    LateAnswer,
    LeaseExpired,
    Resolved,
    RetryRequested,
    Signal,
    StepRejected,
)
from app.saga.why import LONGEST_DETAIL, why
from tests.saga.stage import (
    DAY,
    HOUR,
    NOON,
    SECOND,
    Play,
    done,
    found,
    rejected,
    saga_of,
    step,
    unavailable,
    unclear,
    unknown,
)

ONE = saga_of(step("purchase", attempts=5))
TWO = saga_of(step("flight"), step("hotel"))


def said(play: Play) -> str:
    """The sentence, as the row would be read right after its last change."""
    return why(play.saga, replace(play.operation, updated_at=play.now))


def test_an_unknown_call_says_what_the_contract_shows() -> None:
    play = Play(ONE)
    play.run(unavailable(), unknown())
    play.operation = replace(play.operation, next_run_at=NOON + 7 * SECOND)
    assert (
        said(play) == "purchase: no answer within 10 s from purchase; attempt 3 of 5 at 12:00:07Z, "
        "with the same idempotency key"
    )


def test_pending() -> None:
    play = Play(ONE)
    assert said(play) == "purchase: ready for purchase"
    play.claim()
    play.tell(Deferred(NOON + 30 * SECOND))
    assert said(play) == "purchase: ready for purchase at 12:00:30Z"
    play.tell(CancelRequested())
    assert said(play) == "payment: its undo is ready for psp, as it was cancelled"
    assert said(Play(saga_of())) == "payment: ready"


def test_pending_with_a_lookup() -> None:
    play = Play(saga_of(step("flight", attempts=1, lookup=True)))
    play.run(unknown())
    play.wait(HOUR / 2)
    play.tell(RetryRequested())
    assert said(play) == "flight: its outcome is unknown; flight is asked now whether it was carried out"


def test_processing_says_who_holds_it_and_until_when() -> None:
    play = Play(ONE)
    play.run(unavailable())
    play.claim()
    assert said(play) == "purchase: attempt 2 of 5 is due at purchase; held by worker until 12:00:31Z"
    play.begin()
    assert said(play) == "purchase: attempt 2 of 5 is out to purchase; held by worker until 12:00:31Z"
    play.tell(CancelRequested())
    assert said(play).endswith("; a cancel is requested, and what the call brings is undone")


def test_processing_without_a_call() -> None:
    play = Play(saga_of())
    play.claim()
    assert said(play) == "payment: held by worker until 12:00:30Z"


def test_an_error_names_a_status_and_a_crash() -> None:
    play = Play(ONE)
    play.run(StepRejected(LastError(Outcome.REJECTED, "refused: 422 Unprocessable Content: sold out", 422)), rejected())
    assert said(play).startswith("payment: its undo was rejected: no from psp; ")
    play = Play(ONE)
    play.send()
    play.tell(LeaseExpired())
    assert said(play).startswith("purchase: the worker's lease ran out while the call was out; attempt 2 of 5 at ")


def test_an_error_of_a_local_step_names_no_key() -> None:
    play = Play(saga_of(step("reserve", local=True)))
    play.run(unavailable())
    assert said(play) == "reserve: not now from shop.steps:do_reserve; attempt 2 of 3 at 12:00:01Z"


def test_an_error_that_meets_the_deadline_first() -> None:
    play = Play(ONE)
    play.run(unavailable(retry_at=NOON + 2 * HOUR))
    assert said(play) == "purchase: not now from purchase; turns to refund at 13:00:00Z, when its deadline passes"


def test_waiting_for_in_flight() -> None:
    play = Play(ONE)
    play.run(unknown())
    play.tell(CancelRequested())
    assert (
        said(play) == "purchase: its outcome is unknown; its undo goes to purchase at 12:01:00Z, "
        "when its last call can take effect no more"
    )
    play = Play(saga_of(step("flight", attempts=1, lookup=True)))
    play.run(unknown())
    assert (
        said(play) == "flight: no answer within 10 s from flight; flight is asked at 12:01:00Z whether it was "
        "carried out, when its last call can take effect no more"
    )


def test_a_lookup_that_failed() -> None:
    play = Play(saga_of(step("flight", attempts=2, lookup=True)))
    play.run(unknown(), unknown(), unclear())
    assert said(play) == "flight: lookup down from flight; lookup 2 of 2 at 12:01:02Z"


def test_an_undo_that_failed_on_another_day() -> None:
    play = Play(TWO)
    play.run(done())
    play.tell(CancelRequested())
    play.run(unavailable(retry_at=NOON + DAY))
    assert (
        said(play) == "flight: not now from flight; attempt 2 of 3 of its undo at 2026-03-02 12:00:00Z, "
        "with the same idempotency key"
    )


def test_waiting() -> None:
    play = Play(saga_of())
    play.tell(CancelRequested())
    waiting = replace(play.operation, status=Status.WAITING, next_run_at=NOON + HOUR)
    assert why(play.saga, waiting) == "payment: psp will confirm later; asked again at 13:00:00Z"


def test_held_says_what_a_human_can_do() -> None:
    play = Play(TWO)
    play.run(done())
    play.tell(CancelRequested())
    play.send()
    play.now = play.operation.deadline
    play.tell(unavailable())
    assert (
        said(play)
        == "flight: its undo was given up: not now from flight; retry it, or settle it by hand and resolve the step"
    )
    failed = replace(play.operation, held_reason=HeldReason.REFUND_FAILED)
    assert why(TWO, failed).startswith("flight: the refund failed: not now")


@pytest.mark.parametrize(("answer", "known"), [(done(), "it is done"), (unknown(), "its outcome is unknown")])
def test_held_without_an_undo(answer: Signal, known: str) -> None:
    play = Play(saga_of(step("flight", undo=False)))
    play.run(answer)
    play.tell(CancelRequested(undo_succeeded=True))
    assert said(play) == f"flight: {known} and it has no undo; undo it by hand and resolve the step"


def test_held_by_a_contradiction() -> None:
    play = Play(TWO)
    play.run(unknown())
    play.tell(Resolved(Status.REFUNDED))
    assert said(play) == "refunded: settled by hand"
    play.tell(LateAnswer("flight", Action.DO, done()))
    assert said(play).startswith("flight: it was carried out behind a refund; retry undoes it")
    play = Play(TWO)
    play.run(done())
    play.tell(CancelRequested())
    play.run(unknown())
    play.tell(Resolved(Status.SUCCEEDED))
    assert said(play) == "succeeded: settled by hand"
    play.tell(LateAnswer("flight", Action.UNDO, done()))
    assert said(play).startswith("flight: it was undone behind a success; retry gives the money back")


def test_the_ends() -> None:
    play = Play(ONE)
    play.run(done())
    assert said(play) == "succeeded: every step is done"
    play = Play(ONE)
    play.run(rejected(), done())
    assert said(play) == "refunded, as purchase was rejected"
    play = Play(ONE)
    play.run(unavailable(), unavailable(), unavailable(), unavailable(), unavailable(), done())
    assert said(play) == "refunded, as purchase was given up"
    play = Play(ONE)
    play.wait(HOUR)
    play.tell(DeadlinePassed())
    play.run(done())
    assert said(play) == "refunded, as the deadline has passed"


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.REFUNDED])
def test_what_retention_has_emptied_says_how_it_ended_and_no_more(status: Status) -> None:
    play = Play(ONE)
    play.operation = replace(play.operation, status=status, steps=(), reason=None)
    assert said(play) == status


def test_an_undo_that_its_deadline_kept_from_being_sent_is_not_told_with_the_error_of_another_step() -> None:
    saga = saga_of(step("flight"), undo_deadline=HOUR)
    play = Play(saga)
    play.run(rejected())
    play.wait(2 * HOUR)
    play.tell(DeadlinePassed())
    assert said(play).startswith("payment: its undo was given up: not sent: the refund's deadline has passed (psp); ")


def test_a_long_answer_is_cut_and_put_on_one_line() -> None:
    play = Play(ONE)
    play.run(unknown())
    page = LastError(Outcome.UNKNOWN, "answered 500: <html>\n" + "x" * 5000, 500)
    play.operation = replace(play.operation, last_error=page)
    sentence = said(play)
    assert len(sentence) < LONGEST_DETAIL + 120
    assert "\n" not in sentence


def test_every_operation_that_can_be_reached_has_a_sentence() -> None:
    """Whatever is shown, it names its step unless it is over, and holds no None."""
    saga = saga_of(step("flight", lookup=True, attempts=2), step("hotel", undo_attempts=2))
    stories: list[list[Signal]] = [
        [done(), done()],
        [unknown(), unknown(), found(), rejected(), done(), done()],
        [unknown(), rejected(), unclear(), unclear(), rejected(404), done()],
        [done(), unknown(), unavailable(), unavailable(), rejected(422)],
    ]
    seen: list[tuple[Saga, Operation]] = []
    for story in stories:
        play = Play(saga)
        for answer in story:
            if play.operation.next_run_at is None:
                break
            seen.append((saga, play.operation))
            play.send()
            seen.append((saga, play.operation))
            play.tell(answer)
        seen.append((saga, play.operation))
    for one, operation in seen:
        sentence = why(one, operation)
        assert "None" not in sentence
        assert sentence.startswith((f"{operation.step}: ", "succeeded", "refunded"))
