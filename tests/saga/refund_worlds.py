"""One operation and a provider with a refund protocol, and everything that can happen between them.

The provider's books are the oracle: whatever the machine believes, they say what was given back.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from app.errors import NotAllowed
from app.saga import Sending, advance, prepare
from app.saga.definition import Limits, RefundCall, RetryPolicy, Saga, Step
from app.saga.model import (
    CLAIMABLE,
    Action,
    Operation,
    Sendings,
    Status,
    Transition,
)
from app.saga.signals import (
    CancelRequested,
    LateAnswer,
    LeaseExpired,
    RefundBlocked,
    RefundHeard,
    RefundsListed,
    RetryRequested,
    Signal,
)
from tests.saga.refund_books import ASK_AGAIN, PAID, F, P, Provider, S, Wish
from tests.saga.stage import (
    HOUR,
    LEASE,
    MINUTE,
    SECOND,
    claimed,
    created,
    rejected,
    unavailable,
    unclear,
    unknown,
    unreached,
)

PART = 500
FAR = 300.0

CALL = RefundCall("psp", "stripe")


def refund_saga(limits: Limits, *, attempts: int = 2, steps: tuple[Step, ...] = ()) -> Saga:
    """A saga whose payment is given back by a refund protocol."""
    payment = Step("payment", undo=CALL, undo_retry=RetryPolicy(attempts, SECOND, 2.0, 5 * MINUTE))
    return Saga("purchase", (payment, *steps), HOUR, timedelta(days=7), dict.fromkeys(("psp", "buy"), limits))


@dataclass(frozen=True, slots=True)
class World:
    """One operation, its provider, and what may still be done to them: how often each thing may still happen."""

    operation: Operation
    provider: Provider
    now: datetime
    sending: Sending | None = None
    late: LateAnswer | None = None
    crashes: int = 0
    others: int = 0
    failures: int = 0
    retries: int = 0
    tellings: int = 0
    refusals: int = 0
    lists: bool = True
    complete: bool = True
    story: object = None

    def key(self, saga: Saga) -> object:
        """What tells two worlds apart: times as they are seen from now."""
        one, limits = self.operation, saga.limits["psp"]

        def until(time: datetime | None) -> float | None:
            return None if time is None else min(max((time - self.now).total_seconds(), 0), FAR)

        def since(time: datetime | None, span: timedelta) -> float | None:
            return None if time is None else until(time + span)

        def sendings(of: Sendings) -> object:
            forgotten, settled = since(of.first_at, limits.key_lifetime), since(of.last_at, limits.in_flight)
            return of.count > 0, forgotten, settled, min(of.unknown, 2), of.out, of.refused, of.conflict

        books = self.provider
        return (
            (one.phase, one.status, one.step, one.action, one.attempt, one.held_reason, until(one.next_run_at)),
            (one.cancel_requested_at is None, one.last_run_at == self.now),
            tuple((s.status, s.settled, s.refund, sendings(s.do), sendings(s.undo)) for s in one.steps),
            (books.refunds, books.told, tuple((w.key, since(w.at, limits.key_lifetime)) for w in books.keys)),
            tuple((w.key, w.amount, until(w.at)) for w in books.under_way),
            (self.sending is None, self.late, self.crashes, self.others, self.failures, self.retries),
            (self.tellings, self.refusals),
        )

    def moved(self, now: datetime) -> "World":
        """The same at a later time."""
        return replace(self, now=now, provider=self.provider.at(now))


def moves(saga: Saga, world: World) -> Iterator[World]:
    """Everything that can happen next."""
    operation, books = world.operation, world.provider
    if operation.status is not Status.PROCESSING:
        for wish in books.under_way:
            rest = tuple(other for other in books.under_way if other is not wish)
            landed = replace(books, under_way=rest).arrive(wish.key, wish.amount, world.now, saga.limits["psp"])[0]
            yield replace(world, provider=landed, story=("lands", world.story))
    yield from in_the_books(world)
    if world.tellings and books.told != books.refunds:
        heard = replace(world, provider=replace(books, told=books.refunds), tellings=world.tellings - 1)
        yield told(saga, heard, RefundHeard(books.refunds))
    if world.late is not None:
        yield told(saga, replace(world, late=None), world.late)
    if world.retries and operation.status in {Status.HELD, Status.ERROR, Status.WAITING}:
        yield told(saga, replace(world, retries=world.retries - 1), RetryRequested())
    if operation.status in CLAIMABLE:
        assert operation.next_run_at is not None
        later = world.moved(max(world.now, operation.next_run_at))
        yield replace(later, operation=claimed(later.operation, later.now))
    elif operation.status is Status.PROCESSING and world.sending is None:
        yield begun(saga, world)
        if world.crashes:
            yield crashed(saga, world, None)
    elif world.sending is not None:
        yield from answered(saga, world, world.sending)


def in_the_books(world: World) -> Iterator[World]:
    """What happens at the provider without us."""
    books = world.provider
    if world.others:
        fewer = replace(world, others=world.others - 1)
        for amount in {PART, books.left}:
            ours = sum(one.amount for one in books.refunds if one.key is not None and one.standing is not F)
            if 0 < amount <= books.left - ours:
                yield replace(fewer, provider=books.by_hand(amount), story=("by hand", amount, world.story))
    for refund in books.refunds:
        if refund.standing is P:
            yield replace(world, provider=books.settle(refund, S), story=("succeeds", world.story))
        if refund.standing is not F and world.failures and refund.key is not None:
            failed = books.settle(refund, F)
            yield replace(world, provider=failed, failures=world.failures - 1, story=("fails", world.story))


def begun(saga: Saga, world: World) -> World:
    """The worker looks what is to be sent, and puts it on record."""
    planned = prepare(saga, world.operation, world.now)
    if isinstance(planned, Transition):
        return replace(world, operation=planned.after)
    assert planned.operation.status is Status.PROCESSING
    assert (planned.key is None) == (planned.action is Action.LOOKUP)
    return replace(world, operation=planned.operation, sending=planned)


def answered(saga: Saga, world: World, sending: Sending) -> Iterator[World]:
    """Every way that a question can end."""
    lost = replace(world, sending=None)
    if sending.action is Action.LOOKUP:
        yield from listed(saga, lost)
        return
    key, limits = sending.key, saga.limits["psp"]
    amount = sending.operation.steps[0].refund.amount
    assert key is not None
    assert amount is not None
    assert 0 < amount <= PAID
    arrived, answer = world.provider.arrive(key, amount, world.now, limits)
    reached = replace(lost, provider=arrived)
    way = (*world.provider.under_way, Wish(key, amount, world.now + limits.in_flight))
    later = replace(lost, provider=replace(world.provider, under_way=way))
    yield told(saga, reached, answer)
    yield told(saga, lost, unreached())
    for ended in (lost, reached, later):
        yield told(saga, ended, unknown())
        if world.crashes:
            yield crashed(saga, ended, None)
    if world.crashes:
        yield crashed(saga, reached, LateAnswer("payment", Action.UNDO, answer, key))
        yield crashed(saga, lost, LateAnswer("payment", Action.UNDO, unavailable(), key))
    if world.refusals:
        less = replace(lost, refusals=world.refusals - 1)
        yield told(saga, less, rejected())
        yield told(saga, less, unavailable())
        yield told(saga, replace(later, refusals=world.refusals - 1), unavailable(409))
        yield told(saga, replace(reached, refusals=world.refusals - 1), RefundBlocked(unknown().error, certain=False))


def listed(saga: Saga, world: World) -> Iterator[World]:
    """The list comes, or it does not."""
    books = world.provider
    if not world.lists:
        yield told(saga, world, RefundsListed(books.told, None, False, 6 * HOUR))
        return
    yield told(saga, world, RefundsListed((*books.told, *books.refunds), None, world.complete, ASK_AGAIN))
    if not world.complete:
        yield told(saga, world, RefundsListed(books.told, None, False, ASK_AGAIN))
    yield told(saga, world, unclear())
    if world.crashes:
        yield crashed(saga, world, None)


def crashed(saga: Saga, world: World, late: LateAnswer | None) -> World:
    """The worker is not heard of until its lease is over; its answer may come later."""
    fewer = replace(world, crashes=world.crashes - 1, late=late or world.late, sending=None)
    return told(saga, fewer.moved(world.now + LEASE), LeaseExpired())


def told(saga: Saga, world: World, signal: Signal) -> World:
    """What the machine makes of a signal."""
    try:
        transition = advance(saga, world.operation, signal, world.now, 1.0)
    except NotAllowed:
        return world
    if transition is None:
        return world
    assert transition.after.revision == transition.before.revision + 1
    story = (world.operation.action, signal, world.story)
    return replace(world, operation=transition.after, story=story)


def refunding(saga: Saga, now: datetime) -> Operation:
    """An operation whose money is to go back."""
    operation = replace(created(saga), status=Status.SUCCEEDED, finished_at=now, next_run_at=None)
    transition = advance(saga, operation, CancelRequested(undo_succeeded=True), now, 1.0)
    assert transition is not None
    return transition.after


def assert_books(world: World) -> None:
    """What must hold at every moment, whatever has happened."""
    books, operation = world.provider, world.operation
    ours = [one for one in books.refunds if one.key is not None and one.standing is not F]
    assert len(ours) <= 1, "the money was given back twice"
    assert sum(one.amount for one in books.refunds if one.standing is not F) <= PAID, "more went back than was paid"
    believed = {one.id: one.standing for one in books.told}
    unheard = any(one.standing is F and believed.get(one.id) is not F for one in books.refunds)
    if operation.status is Status.REFUNDED and not unheard:
        back = sum(one.amount for one in books.refunds if one.standing is S)
        assert back == PAID, f"refunded, and {back} is back"
