"""A saga is stored as JSON, once by its hash, and comes back as it was."""

import json
from dataclasses import replace
from datetime import timedelta

from app.saga.definition import DEFAULT_LIMITS, HttpCall, Limits, LocalCall, Saga, from_json, hash_of, to_json
from tests.saga.stage import HOUR, LIMITS, saga_of, step

EVERYTHING = saga_of(
    step("flight", lookup=True),
    step("hotel", local=True),
    step("mail", undo=False, undo_needed=False),
    deadline=HOUR,
    undo_deadline=timedelta(milliseconds=250),
)


def test_it_comes_back_as_it_was() -> None:
    assert from_json(to_json(EVERYTHING)) == EVERYTHING


def test_the_limits_of_agents_are_facts_of_today_and_no_part_of_it() -> None:
    """Trap: an agent's timeout changes in the file, and every operation seems to have begun with another saga."""
    slower = replace(EVERYTHING, limits={"flight": Limits(timeout=HOUR)})
    assert hash_of(slower) == hash_of(EVERYTHING)
    assert "limits" not in json.loads(to_json(EVERYTHING))
    assert from_json(to_json(EVERYTHING)).limits == {}


def test_whatever_else_changes_makes_another_saga() -> None:
    others: list[Saga] = [
        replace(EVERYTHING, name="booking"),
        replace(EVERYTHING, deadline=2 * HOUR),
        replace(EVERYTHING, steps=EVERYTHING.steps[:-1]),
        replace(EVERYTHING, steps=(*EVERYTHING.steps[:-1], replace(EVERYTHING.steps[-1], undo_needed=True))),
    ]
    assert len({hash_of(saga) for saga in (EVERYTHING, *others)}) == 5


def test_an_agent_that_is_configured_no_more_has_the_default_limits() -> None:
    assert EVERYTHING.limits_of(HttpCall("flight", "GET", "/")) == LIMITS
    assert EVERYTHING.limits_of(HttpCall("gone", "GET", "/")) == DEFAULT_LIMITS
    assert EVERYTHING.limits_of(LocalCall("shop.steps:reserve")) == DEFAULT_LIMITS
