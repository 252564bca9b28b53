"""One operation with its agents, and everything that can happen to them: the search goes through it world by world."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from app.errors import NotAllowed
from app.saga import Sending, advance, prepare
from app.saga.definition import LocalCall, Saga
from app.saga.model import CLAIMABLE, SETTLED, Action, Operation, Sendings, Status, Transition
from app.saga.signals import (
    Answer,
    CancelRequested,
    DeadlinePassed,
    Deferred,
    LateAnswer,
    LeaseExpired,
    RetryRequested,
    Signal,
)
from tests.saga.agents import Agents, Message, assert_may_be_sent
from tests.saga.stage import (
    LEASE,
    SECOND,
    absent,
    claimed,
    found,
    rejected,
    unavailable,
    unclear,
    unknown,
    unreached,
)

# Seconds beyond which a time is far away: past every wait between two calls, and past `in_flight`.
FAR = 300.0


@dataclass(frozen=True, slots=True)
class World:
    """One operation, its agents, and what may still be done to them.

    Args:
        sending: the call that is out.
        late: an answer that a worker whose lease ran out may still bring.
        cancels: how often an operator may still cancel; likewise retries, crashes of workers, and waits that last until
            the deadline.
        story: what has happened, last first, for whoever reads a failure.
    """

    operation: Operation
    agents: Agents
    now: datetime
    sending: Sending | None = None
    late: LateAnswer | None = None
    cancels: int = 0
    retries: int = 0
    crashes: int = 0
    waits: int = 0
    story: object = None

    def key(self, saga: Saga) -> object:
        """What tells two worlds apart: times as they are seen from now, and no counters that decide nothing."""
        one, limits = self.operation, saga.limits["psp"]

        def until(time: datetime | None) -> float | None:
            return None if time is None else min((time - self.now).total_seconds(), FAR)

        def since(time: datetime | None, span: timedelta) -> float | None:
            return None if time is None else max(until(time + span) or 0, 0)

        def sendings(of: Sendings) -> object:
            forgotten, settled = since(of.first_at, limits.key_lifetime), since(of.last_at, limits.in_flight)
            return of.count > 0, forgotten, settled, min(of.unknown, 2), of.out, of.refused, of.conflict

        return (
            (one.phase, one.status, one.step, one.action, one.attempt, one.cancel_requested_at is None),
            (one.held_reason, until(one.next_run_at), until(one.deadline)),
            tuple((s.status, s.did, s.absent, s.settled, sendings(s.do), sendings(s.undo)) for s in one.steps),
            tuple(
                (
                    b.live,
                    b.bought,
                    b.undone,
                    b.replays,
                    *(since(k, limits.key_lifetime) for k in (b.do_key, b.undo_key)),
                )
                for b in self.agents.books
            ),
            tuple((m.place, m.action, m.busy, until(m.until)) for m in self.agents.under_way),
            (self.sending is None, self.late, self.cancels, self.retries, self.crashes, self.waits),
        )

    def moved(self, now: datetime) -> "World":
        """The same at a later time."""
        return replace(self, now=now, agents=self.agents.at(now))


def moves(saga: Saga, world: World) -> Iterator[World]:
    """Everything that can happen next."""
    operation, agents = world.operation, world.agents
    if operation.status is not Status.PROCESSING:
        # When it takes effect between two calls makes no difference to anyone.
        for message in agents.under_way:
            landed = agents.land(message, world.now, saga.limits["psp"])
            yield replace(world, agents=landed, story=(world.now, message, world.story))
    if world.late is not None:
        yield told(saga, replace(world, late=None), world.late)
    if world.cancels:
        yield told(saga, replace(world, cancels=world.cancels - 1), CancelRequested(undo_succeeded=True))
    if world.retries and operation.status in {Status.HELD, Status.ERROR}:
        yield told(saga, replace(world, retries=world.retries - 1), RetryRequested())
    if world.waits and operation.status not in SETTLED and world.now < operation.deadline:
        waited = replace(world, waits=world.waits - 1).moved(operation.deadline)
        yield told(saga, waited, DeadlinePassed())
    if operation.status in CLAIMABLE:
        yield taken(world)
    elif operation.status is Status.PROCESSING and world.sending is None:
        yield begun(saga, world)
        if world.crashes:
            after = replace(world, crashes=world.crashes - 1).moved(world.now + LEASE)
            yield told(saga, after, LeaseExpired())
            yield told(saga, replace(world, crashes=world.crashes - 1), Deferred(world.now + SECOND))
    elif world.sending is not None:
        yield from answered(saga, world, world.sending)


def taken(world: World) -> World:
    """A worker claims it as soon as it is due."""
    assert world.operation.next_run_at is not None
    later = world.moved(max(world.now, world.operation.next_run_at))
    return replace(later, operation=claimed(later.operation, later.now))


def begun(saga: Saga, world: World) -> World:
    """The worker looks what is to be sent, and puts it on record."""
    planned = prepare(saga, world.operation, world.now)
    if isinstance(planned, Transition):
        return replace(world, operation=planned.after)
    assert_may_be_sent(saga, planned, world.agents)
    return replace(world, operation=planned.operation, sending=planned)


def answered(saga: Saga, world: World, sending: Sending) -> Iterator[World]:
    """Every way that a call can end."""
    place = saga.index(sending.step)
    limits = saga.limits["psp"]
    lost = replace(world, sending=None)
    if sending.action is Action.LOOKUP:
        bought = world.agents.books[place].live > 0
        yield told(saga, lost, found() if bought else absent())
        yield told(saga, lost, unclear())
        return
    sent = sending.operation.last_run_at
    assert sent is not None
    arrived, answer = world.agents.arrive(place, sending.action, sent, limits)
    reached = replace(lost, agents=arrived)
    yield told(saga, reached, answer)
    if isinstance(sending.call, LocalCall):
        # It and the record of it are one transaction: all of it happens, or nothing.
        yield told(saga, lost, rejected())
        yield told(saga, lost, unavailable())
        if world.crashes:
            yield told(saga, replace(lost, crashes=world.crashes - 1), LeaseExpired())
        return
    message = Message(place, sending.action, sent + limits.in_flight)
    later = replace(lost, agents=world.agents.sent(message).at(world.now))
    yield told(saga, lost, unreached())
    for ended in (lost, reached, later):
        yield told(saga, ended, unknown())
        if world.crashes:
            yield crashed(saga, ended, None)
    if world.crashes:
        yield crashed(saga, reached, LateAnswer(sending.step, sending.action, answer))
    busy = replace(message, busy=True)
    yield told(saga, replace(lost, agents=world.agents.sent(busy).at(world.now)), unavailable(409))
    if not world.agents.busy(place):
        refusals: tuple[Answer, ...] = (rejected(), unavailable())
        for refusal in refusals:
            yield told(saga, lost, refusal)
            if world.crashes:
                yield crashed(saga, lost, LateAnswer(sending.step, sending.action, refusal))


def crashed(saga: Saga, world: World, late: LateAnswer | None) -> World:
    """The worker is not heard of until its lease is over; its answer may come later."""
    after = replace(world, crashes=world.crashes - 1, late=late or world.late).moved(world.now + LEASE)
    return told(saga, after, LeaseExpired())


def told(saga: Saga, world: World, signal: Signal) -> World:
    """What the machine makes of a signal."""
    try:
        transition = advance(saga, world.operation, signal, world.now, 1.0)
    except NotAllowed:
        return world
    if transition is None:
        return world
    assert transition.after.revision == transition.before.revision + 1
    story = (world.now, world.operation.step, world.operation.action, signal, world.story)
    return replace(world, operation=transition.after, story=story)
