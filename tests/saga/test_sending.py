"""What happens to a sending between its preparation and the moment when it goes out."""

from datetime import timedelta

import pytest

from app.saga import Sending, overdue
from app.saga.evidence import went_out
from app.saga.model import Status
from app.saga.signals import Signal
from tests.saga.stage import (
    HOUR,
    IN_FLIGHT,
    LIMITS,
    MINUTE,
    SECOND,
    Play,
    absent,
    done,
    rejected,
    saga_of,
    step,
    unavailable,
    unknown,
)

FLIGHT = saga_of(step("flight", attempts=1))
SLOW = 2 * SECOND


def go_out(play: Play, after: timedelta) -> None:
    """The call that is on record goes out, as late as that."""
    sending = play.sending
    assert sending is not None
    play.wait(after)
    play.operation = went_out(play.operation, sending.step, sending.action, play.now)


@pytest.mark.parametrize("answer", [unknown(), unavailable(409)])
def test_in_flight_counts_from_when_the_call_went_out_and_not_from_its_record(answer: Signal) -> None:
    """It waited for a slot and a connection. Undone too early, the purchase could come after its undo."""
    play = Play(FLIGHT)
    play.send()
    go_out(play, SLOW)
    went = play.now
    play.wait(5 * SECOND)
    play.tell(answer)
    assert (play.operation.status, play.operation.next_run_at) == (Status.ERROR, went + IN_FLIGHT)


def test_a_lookup_waits_from_when_the_call_went_out_too() -> None:
    play = Play(saga_of(step("flight", attempts=1, lookup=True)))
    play.send()
    go_out(play, SLOW)
    went = play.now
    play.tell(unknown())
    assert play.operation.next_run_at == went + IN_FLIGHT
    play.send()
    go_out(play, SLOW)
    play.tell(absent())
    assert play.operation.state_of("flight").do.last_at == went, "a lookup is no sending of the step"


def test_what_has_ended_its_sending_is_not_moved() -> None:
    play = Play(FLIGHT)
    play.run(unknown())
    assert went_out(play.operation, "flight", play.operation.action, play.now + HOUR) is play.operation


def prepared(play: Play) -> Sending:
    play.send()
    assert play.sending is not None
    return play.sending


def test_nothing_goes_forward_when_the_deadline_passed_on_the_way_out() -> None:
    play = Play(FLIGHT)
    sending = prepared(play)
    assert overdue(play.saga, sending, play.operation.deadline - SECOND) is None
    assert overdue(play.saga, sending, play.operation.deadline) == "the deadline had passed"


def test_no_unknown_call_is_repeated_when_its_key_expired_on_the_way_out() -> None:
    play = Play(saga_of(step("flight", attempts=9), deadline=99 * HOUR))
    play.run(unknown())
    first = play.operation.state_of("flight").do.first_at
    assert first is not None
    last = first + LIMITS.key_lifetime - LIMITS.timeout
    sending = prepared(play)
    assert overdue(play.saga, sending, last) is None
    assert overdue(play.saga, sending, last + SECOND) == "its idempotency key had expired"


def test_an_undo_is_held_to_its_own_key_and_deadline() -> None:
    play = Play(saga_of(step("flight", undo_attempts=9), step("hotel")))
    play.run(done(), rejected(), unknown())
    first = play.operation.state_of("flight").undo.first_at
    assert first is not None
    sending = prepared(play)
    assert overdue(play.saga, sending, first + MINUTE) is None
    assert overdue(play.saga, sending, first + LIMITS.key_lifetime) == "its idempotency key had expired"
    assert overdue(play.saga, sending, play.operation.deadline) == "the deadline had passed"


def test_a_lookup_is_never_too_late() -> None:
    play = Play(saga_of(step("flight", attempts=1, lookup=True)))
    play.run(unknown())
    assert overdue(play.saga, prepared(play), play.operation.deadline + HOUR) is None
