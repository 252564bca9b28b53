"""A saga as the JSON that is stored beside its operations, once by its hash.

An operation keeps the saga it began with, also when the configuration changes under it.
"""

import hashlib
import json
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from app.saga.model import Call, HttpCall, LocalCall, Lookup, RetryPolicy, Saga, Step


def to_json(saga: Saga) -> str:
    """The canonical JSON of a saga: sorted keys, durations in seconds, no limits of agents in it."""
    value = asdict(saga)
    del value["limits"]
    return json.dumps(value, default=timedelta.total_seconds, sort_keys=True, separators=(",", ":"))


def hash_of(saga: Saga) -> str:
    """SHA-256, in hex, of the canonical JSON."""
    return hashlib.sha256(to_json(saga).encode()).hexdigest()


def from_json(text: str) -> Saga:
    """The saga that `to_json` has written."""
    value = json.loads(text)
    return Saga(
        name=value["name"],
        steps=tuple(_step(step) for step in value["steps"]),
        deadline=timedelta(seconds=value["deadline"]),
        undo_deadline=timedelta(seconds=value["undo_deadline"]),
    )


def _step(value: dict[str, Any]) -> Step:
    return Step(
        name=value["name"],
        do=_call(value["do"]),
        undo=_call(value["undo"]),
        undo_needed=value["undo_needed"],
        lookup=Lookup(**value["lookup"]) if value["lookup"] else None,
        retry=_policy(value["retry"]),
        undo_retry=_policy(value["undo_retry"]),
    )


def _call(value: dict[str, Any] | None) -> Call | None:
    if value is None:
        return None
    if "local" in value:
        return LocalCall(value["local"], timedelta(seconds=value["timeout"]))
    return HttpCall(**value)


def _policy(value: dict[str, Any]) -> RetryPolicy:
    return RetryPolicy(
        maximum_attempts=value["maximum_attempts"],
        initial_interval=timedelta(seconds=value["initial_interval"]),
        backoff_coefficient=value["backoff_coefficient"],
        maximum_interval=timedelta(seconds=value["maximum_interval"]),
    )
