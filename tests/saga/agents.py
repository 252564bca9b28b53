"""The agents' side of the story: what was really bought, undone and refunded, and which messages are still on their way.

It is the oracle: whatever the machine believes, these books say what happened. The agents keep the contract's promises
and no more: they remember a key for `key_lifetime`, and a message takes effect within `in_flight` of its sending or
never. An undo that finds nothing leaves no mark, so a purchase that comes after it stays.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from app.saga import Sending
from app.saga.definition import Limits, LocalCall, Saga
from app.saga.model import Action, Operation, Phase, Status, StepStatus
from app.saga.signals import StepDone, StepRejected
from tests.saga.stage import done, rejected


@dataclass(frozen=True, slots=True)
class Book:
    """What one step's agent knows. For the payment a refund is its undo.

    Args:
        live: purchases that stand.
        bought: purchases ever made.
        undone: undos that took something back.
        do_key: when the key of the do came for the first time; `undo_key` likewise.
        replays: a call for which it answered 409 has taken effect since; it says so when it is asked again.
    """

    live: int = 0
    bought: int = 0
    undone: int = 0
    do_key: datetime | None = None
    undo_key: datetime | None = None
    replays: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """A call that may still take effect until `until`. `busy`: the agent has it and answers 409 meanwhile."""

    place: int
    action: Action
    until: datetime
    busy: bool = False


@dataclass(frozen=True, slots=True)
class Agents:
    """The books of all steps, and what is under way to them."""

    books: tuple[Book, ...]
    under_way: tuple[Message, ...] = ()

    def at(self, now: datetime) -> "Agents":
        """Time has passed: what has not taken effect by now never will."""
        left = tuple(message for message in self.under_way if now < message.until)
        return self if len(left) == len(self.under_way) else replace(self, under_way=left)

    def busy(self, place: int) -> bool:
        """Whether the agent has said 409, and so can neither refuse nor put off the same call: it runs, or it has run."""
        return self.books[place].replays or any(m.busy and m.place == place for m in self.under_way)

    def sent(self, message: Message) -> "Agents":
        """A message that may take effect later, unless its key is known there and it would change nothing."""
        book = self.books[message.place]
        if not message.busy and (book.do_key if message.action is Action.DO else book.undo_key):
            return self
        return replace(self, under_way=(*self.under_way, message))

    def land(self, message: Message, now: datetime, limits: Limits) -> "Agents":
        """A message that was under way takes effect."""
        rest = list(self.under_way)
        rest.remove(message)
        landed = replace(self, under_way=tuple(rest)).arrive(message.place, message.action, now, limits)[0]
        if not message.busy:
            return landed
        place = message.place
        book = replace(landed.books[place], replays=True)
        return replace(landed, books=(*landed.books[:place], book, *landed.books[place + 1 :]))

    def arrive(
        self, place: int, action: Action, now: datetime, limits: Limits
    ) -> tuple["Agents", StepDone | StepRejected]:
        """A call arrives: what it does, and what is answered."""
        book = self.books[place]
        answer: StepDone | StepRejected = done()
        if action is Action.DO:
            if not _remembered(book.do_key, now, limits):
                book = replace(book, live=book.live + 1, bought=book.bought + 1, do_key=now)
        elif not _remembered(book.undo_key, now, limits):
            if book.live:
                book = replace(book, live=book.live - 1, undone=book.undone + 1, undo_key=now)
            elif place == 0:
                book = replace(book, undone=book.undone + 1, undo_key=now)
            else:
                answer = rejected(404)
        books = (*self.books[:place], book, *self.books[place + 1 :])
        return replace(self, books=books), answer

    def settled(self, place: int) -> bool:
        """Whether nothing of the step stands, and nothing can come any more that would."""
        book = self.books[place]
        coming = any(m.place == place and m.action is Action.DO and book.do_key is None for m in self.under_way)
        return not book.live and not coming


def opened(saga: Saga) -> Agents:
    """Empty books."""
    return Agents(tuple(Book() for _ in saga.steps))


def _remembered(since: datetime | None, now: datetime, limits: Limits) -> bool:
    return since is not None and now < since + limits.key_lifetime


def assert_laws(saga: Saga, operation: Operation, agents: Agents) -> None:
    """What must hold at every moment, whatever has happened."""
    refunds = agents.books[0].undone
    assert refunds <= 1, "the money was given back twice"
    for place, (step, state, book) in enumerate(zip(saga.steps, operation.steps, agents.books, strict=True)):
        assert book.live in {0, 1}, f"{step.name} was bought twice"
        assert book.bought <= 1, f"{step.name} was bought again"
        if place == 0:
            continue
        if state.status in {StepStatus.REJECTED, StepStatus.FAILED}:
            assert agents.settled(place), f"{step.name} counts as {state.status}, and is not"
        if state.status is StepStatus.TODO and operation.phase is Phase.REFUND:
            assert agents.settled(place), f"{step.name} counts as never begun, and is not"
        if state.status is StepStatus.UNDONE:
            assert agents.settled(place), f"{step.name} counts as undone, and is not"
        if state.did:
            assert book.bought, f"{step.name} counts as done, and never was"
    if operation.status is Status.SUCCEEDED:
        assert refunds == 0
        assert operation.phase is Phase.REFUND or operation.cancel_requested_at is None
        assert all(book.live == 1 for book in agents.books[1:])
    if operation.status is Status.REFUNDED:
        assert refunds == 1, "refunded, and the money is not back"
        for place, step in enumerate(saga.steps):
            assert place == 0 or not step.undo_needed or agents.settled(place), "money and goods are both gone"


def assert_may_be_sent(saga: Saga, sending: Sending, agents: Agents) -> None:
    """What must hold whenever a call goes out."""
    operation, place = sending.operation, saga.index(sending.step)
    assert operation.status is Status.PROCESSING
    key = None if sending.action is Action.LOOKUP else f"{operation.id}:{sending.step}:{sending.action}"
    assert sending.key == key
    if sending.action is Action.UNDO:
        assert operation.phase is Phase.REFUND
        for later in range(place + 1, len(saga.steps)):
            if saga.steps[later].undo_needed:
                assert agents.settled(later), f"the undo of {sending.step} goes out before {saga.steps[later].name}'s"
        for message in agents.under_way:
            overtaken = message.place == place and message.action is Action.DO and not agents.books[place].do_key
            assert not overtaken, f"the undo of {sending.step} overtakes its do"
    else:
        assert operation.phase is Phase.PURCHASE
        assert operation.cancel_requested_at is None
        state = operation.state_of(sending.step)
        assert sending.action is Action.LOOKUP or not state.do.refused, "nothing is sent after a refusal"
        assert isinstance(sending.call, LocalCall) or state.status is StepStatus.UNKNOWN
        assert place > 0
        for earlier in range(1, place):
            assert agents.books[earlier].live == 1, f"{sending.step} goes out before {saga.steps[earlier].name} is done"
