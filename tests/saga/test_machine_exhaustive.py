"""Every way that small sagas can go: each answer at each call, with crashes, late answers, cancels and deadlines between.

The search goes through all states that can be reached, each once. In each the machine's belief is held against the
agents' books.
"""

import pytest

from app.saga.definition import Limits, Saga, Step
from app.saga.model import SETTLED, Status
from tests.saga.agents import assert_laws, opened
from tests.saga.stage import (
    NOON,
    SECOND,
    assert_row_rules,
    created,
    saga_of,
    step,
)
from tests.saga.worlds import World, moves


def explore(saga: Saga, *, cancels: int, retries: int, crashes: int, waits: int) -> tuple[int, set[Status]]:
    """Goes through all worlds; returns how many there are, and the ends that an operation can come to."""
    first = World(created(saga), opened(saga), NOON, None, None, cancels, retries, crashes, waits)
    seen, waiting = {first.key(saga)}, [first]
    ends: set[Status] = set()
    while waiting:
        world = waiting.pop()
        operation = world.operation
        assert_row_rules(operation)
        assert_laws(saga, operation, world.agents)
        after = list(moves(saga, world))
        if operation.status is Status.SUCCEEDED:
            assert world.now < operation.deadline
        if operation.status in SETTLED:
            ends.add(operation.status)
        else:
            assert after, "it waits for ever"
        for one in after:
            key = one.key(saga)
            if key not in seen:
                seen.add(key)
                waiting.append(one)
    return len(seen), ends


QUICK_TO_FORGET = Limits(timeout=SECOND, key_lifetime=4 * SECOND, in_flight=SECOND)


def once(name: str, **options: bool) -> Step:
    """A step whose calls are not repeated."""
    return step(name, attempts=1, undo_attempts=1, **options)


# The smallest search below has some 600 worlds; a saga that stops at its first call has a dozen.
FEWEST_WORLDS = 500
# By name: the saga, and how often there is a cancel, an operator's retry, a crash, and a wait until the deadline.
SAGAS: dict[str, tuple[Saga, dict[str, int]]] = {
    "calls that are repeated, a crash and a cancel": (
        saga_of(step("buy", attempts=2, undo_attempts=1), refund_attempts=1),
        {"crashes": 1, "cancels": 1},
    ),
    "undos that are repeated, and a crash": (
        saga_of(step("buy", attempts=1, undo_attempts=2), refund_attempts=1),
        {"crashes": 1},
    ),
    "two crashes": (saga_of(once("buy"), refund_attempts=1), {"crashes": 2}),
    "a deadline and a crash": (saga_of(once("buy"), refund_attempts=1), {"crashes": 1, "waits": 1}),
    "a lookup, a crash and a cancel": (
        saga_of(once("buy", lookup=True), refund_attempts=1),
        {"crashes": 1, "cancels": 1},
    ),
    "a lookup, calls that are repeated, and a deadline": (
        saga_of(step("buy", lookup=True, attempts=2, undo_attempts=1), refund_attempts=1),
        {"waits": 1},
    ),
    "an operator's retry and a crash": (
        saga_of(once("buy"), refund_attempts=1),
        {"crashes": 1, "retries": 1},
    ),
    "refunds that are repeated, an operator's retry and a crash": (
        saga_of(refund_attempts=2),
        {"cancels": 1, "retries": 1, "crashes": 1},
    ),
    "agents that forget keys": (
        saga_of(step("buy", attempts=4, undo_attempts=1), refund_attempts=1, limits=QUICK_TO_FORGET),
        {"retries": 1},
    ),
    "agents that forget keys, and a lookup": (
        saga_of(step("buy", lookup=True, attempts=4, undo_attempts=1), refund_attempts=1, limits=QUICK_TO_FORGET),
        {"crashes": 1},
    ),
    "a provider that forgets keys": (
        saga_of(refund_attempts=3, limits=QUICK_TO_FORGET),
        {"cancels": 1, "retries": 1},
    ),
    "two steps and a crash": (
        saga_of(once("one"), once("two"), refund_attempts=1),
        {"crashes": 1},
    ),
    "three steps, a cancel and a deadline": (
        saga_of(once("one"), once("two"), once("three"), refund_attempts=1),
        {"cancels": 1, "waits": 1},
    ),
    "a step that cannot be undone, and one that need not be": (
        saga_of(once("one", undo=False), once("two", undo=False, undo_needed=False), refund_attempts=1),
        {"crashes": 1, "cancels": 1},
    ),
    "a local step among others": (
        saga_of(once("one"), once("two", local=True), once("three"), refund_attempts=1),
        {"cancels": 1, "crashes": 1},
    ),
}


@pytest.mark.parametrize("name", SAGAS)
def test_every_way_of(name: str) -> None:
    saga, budget = SAGAS[name]
    count, ends = explore(saga, **{"cancels": 0, "retries": 0, "crashes": 0, "waits": 0, **budget})
    assert count > FEWEST_WORLDS, "the search has gone nowhere"
    assert ends == {Status.SUCCEEDED, Status.REFUNDED, Status.HELD}
