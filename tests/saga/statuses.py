"""One operation of two steps in each status that it can have."""

from dataclasses import replace

from app.saga.model import HeldReason, Status
from app.saga.signals import CancelRequested
from tests.saga.stage import (
    DAY,
    Play,
    done,
    rejected,
    saga_of,
    step,
    unavailable,
)

TWO = saga_of(step("flight", attempts=99), step("hotel", attempts=99, undo_attempts=99), deadline=10 * DAY)


def pending() -> Play:
    return Play(TWO)


def processing() -> Play:
    play = Play(TWO)
    play.send()
    return play


def failing() -> Play:
    play = Play(TWO)
    play.run(done(), unavailable())
    return play


def waiting() -> Play:
    play = failing()
    return Play(TWO, replace(play.operation, status=Status.WAITING))


def succeeded() -> Play:
    play = Play(TWO)
    play.run(done(), done())
    return play


def refunding() -> Play:
    play = failing()
    play.tell(CancelRequested())
    play.run(unavailable())
    return play


def refunded() -> Play:
    play = Play(TWO)
    play.run(rejected(), done())
    return play


def held() -> Play:
    play = failing()
    play.tell(CancelRequested())
    play.run(rejected())
    return play


EVERY = {make.__name__: make for make in (pending, processing, failing, waiting, succeeded, refunding, refunded, held)}


def held_at_hotel() -> Play:
    play = Play(TWO)
    play.run(done(), done())
    play.tell(CancelRequested(undo_succeeded=True))
    play.run(rejected())
    assert (play.operation.step, play.operation.held_reason) == ("hotel", HeldReason.UNDO_REJECTED)
    return play
