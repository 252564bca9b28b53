"""A worker whose lease was taken over, and the answer that it brings late."""

from app.saga.model import Action
from app.saga.signals import Answer, LateAnswer, LeaseExpired, Signal
from tests.saga.stage import (
    MINUTE,
    Play,
    saga_of,
    step,
)

TWO = saga_of(step("flight"), step("hotel"))


def late(answer: Answer, name: str = "flight", action: Action = Action.DO) -> LateAnswer:
    return LateAnswer(name, action, answer)


def crashed(*before: Signal) -> Play:
    """The flight's call is out, and its worker is not heard of any more."""
    play = Play(TWO)
    play.run(*before)
    play.send()
    play.wait(MINUTE)
    play.tell(LeaseExpired())
    return play
