"""Every way that a refund by a provider's protocol can go, against the provider's books."""

from dataclasses import replace
from typing import Any

import pytest

from app.saga.definition import Limits
from app.saga.model import SETTLED, Status
from tests.saga.refund_books import P, Provider
from tests.saga.refund_worlds import World, assert_books, moves, refund_saga, refunding
from tests.saga.stage import DAY, NOON, SECOND, assert_row_rules

PATIENT = Limits(timeout=SECOND, key_lifetime=DAY, in_flight=SECOND)
QUICK_TO_FORGET = Limits(timeout=SECOND, key_lifetime=4 * SECOND, in_flight=SECOND)

# By name: the provider, its limits, and how often each thing may happen.
CASES: dict[str, tuple[Provider, Limits, dict[str, Any]]] = {
    "answers that get lost": (Provider(), PATIENT, {"crashes": 1}),
    "two crashes": (Provider(), QUICK_TO_FORGET, {"crashes": 2}),
    "a provider that forgets keys": (Provider(), QUICK_TO_FORGET, {"crashes": 1, "retries": 1}),
    "others who give back": (Provider(), PATIENT, {"others": 2, "crashes": 1}),
    "others who give back, and a provider that forgets keys": (
        Provider(),
        QUICK_TO_FORGET,
        {"others": 2, "retries": 1},
    ),
    "refunds that are pending": (Provider(begins_as=P), PATIENT, {"tellings": 2, "crashes": 1}),
    "refunds that fail": (Provider(begins_as=P), PATIENT, {"failures": 1, "tellings": 2, "retries": 1}),
    "refunds that fail after a success, and a crash": (
        Provider(),
        PATIENT,
        {"failures": 1, "tellings": 2, "retries": 1, "crashes": 1},
    ),
    "two refunds that fail": (Provider(), PATIENT, {"failures": 2, "tellings": 2, "retries": 2}),
    "others who give back, and events": (
        Provider(),
        PATIENT,
        {"others": 1, "tellings": 2, "failures": 1},
    ),
    "refusals": (Provider(), PATIENT, {"refusals": 2, "retries": 1, "others": 1}),
    "refusals, and a provider that forgets keys": (Provider(), QUICK_TO_FORGET, {"refusals": 2, "retries": 1}),
}


def explore(world: World, limits: Limits, attempts: int) -> tuple[int, set[Status]]:
    """Goes through all worlds; returns how many there are, and the ends that an operation can come to."""
    saga = refund_saga(limits, attempts=attempts)
    seen, waiting = {world.key(saga)}, [world]
    ends: set[Status] = set()
    while waiting:
        here = waiting.pop()
        assert_row_rules(here.operation)
        assert_books(here)
        after = list(moves(saga, here))
        if here.operation.status in SETTLED:
            ends.add(here.operation.status)
        else:
            assert after, "it waits for ever"
        for one in after:
            key = one.key(saga)
            if key not in seen:
                seen.add(key)
                waiting.append(one)
    return len(seen), ends


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kind", ["list", "incomplete", "no list"])
def test_every_way_of(name: str, kind: str) -> None:
    provider, limits, budget = CASES[name]
    saga = refund_saga(limits)
    first = World(refunding(saga, NOON), provider, NOON, lists=kind != "no list", complete=kind == "list")
    first = replace(first, **budget)
    count, ends = explore(first, limits, 2)
    assert count > 50, "the search has gone nowhere"
    assert ends == {Status.REFUNDED, Status.HELD}
