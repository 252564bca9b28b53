"""The saga as it is defined: its steps, their calls, what they may cost in time; and the JSON that is stored of it.

An operation keeps the saga it began with, also when the configuration changes under it: so the definition is stored
beside the operations, once by its hash.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a call is made in all, and how long the waits between are (without jitter)."""

    maximum_attempts: int
    initial_interval: timedelta
    backoff_coefficient: float
    maximum_interval: timedelta


DEFAULT_RETRY = RetryPolicy(5, timedelta(seconds=1), 2.0, timedelta(minutes=1))
DEFAULT_UNDO_RETRY = RetryPolicy(20, timedelta(seconds=1), 2.0, timedelta(minutes=5))


@dataclass(frozen=True, slots=True)
class HttpCall:
    """A declared HTTP call. `body` is a JMESPath over the call's document; None sends the whole document."""

    agent: str
    method: str
    path: str
    body: str | None = None


@dataclass(frozen=True, slots=True)
class LocalCall:
    """A Python function `module:name` that runs in the transaction which records the step."""

    local: str
    timeout: timedelta = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class RefundCall:
    """The refund protocol of a provider, spoken to an agent: the undo of the payment, and of nothing else."""

    agent: str
    refund: str


Call = HttpCall | LocalCall | RefundCall


@dataclass(frozen=True, slots=True)
class Lookup:
    """A declared question whether a step was carried out. `done` is a JMESPath over the answer's body."""

    agent: str
    method: str
    path: str
    body: str | None = None
    done: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a saga. The first one has no `do`: it is the payment.

    `undo` None with `undo_needed` means that it cannot be undone; without, that it need not be.
    """

    name: str
    do: Call | None = None
    undo: Call | None = None
    undo_needed: bool = True
    lookup: Lookup | None = None
    retry: RetryPolicy = DEFAULT_RETRY
    undo_retry: RetryPolicy = DEFAULT_UNDO_RETRY


@dataclass(frozen=True, slots=True)
class Limits:
    """What an agent promises about time.

    Args:
        timeout: how long one attempt may take.
        key_lifetime: how long the agent remembers an idempotency key.
        in_flight: how long after it was sent a call may still take effect there.
    """

    timeout: timedelta = timedelta(seconds=10)
    key_lifetime: timedelta = timedelta(hours=24)
    in_flight: timedelta = timedelta(minutes=1)


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Saga:
    """The steps of a saga in their order, and its deadlines.

    `limits` are facts about the agents as the configuration has them today. They are not part of what an operation
    keeps, so they are neither stored nor hashed.
    """

    name: str
    steps: tuple[Step, ...]
    deadline: timedelta = timedelta(hours=24)
    undo_deadline: timedelta = timedelta(days=7)
    limits: Mapping[str, Limits] = field(default_factory=dict, compare=False)

    def index(self, name: str) -> int:
        """The place of the step of that name. Raises KeyError where there is none."""
        for place, step in enumerate(self.steps):
            if step.name == name:
                return place
        raise KeyError(name)

    def limits_of(self, call: Call | Lookup) -> Limits:
        """What the agent of a call promises about time; the defaults where it is not configured any more."""
        if isinstance(call, LocalCall):
            return DEFAULT_LIMITS
        of_agent = self.limits.get(call.agent, DEFAULT_LIMITS)
        return (
            self.limits.get(refund_limits(call.agent, call.refund), of_agent)
            if isinstance(call, RefundCall)
            else of_agent
        )


def refund_limits(agent: str, provider: str) -> str:
    """Under which name the limits of an agent stand as far as it speaks a provider's refund protocol.

    A provider remembers its keys for a time of its own. No agent's name has a space in it.
    """
    return f"{agent} {provider}"


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
    return RefundCall(**value) if "refund" in value else HttpCall(**value)


def _policy(value: dict[str, Any]) -> RetryPolicy:
    return RetryPolicy(
        maximum_attempts=value["maximum_attempts"],
        initial_interval=timedelta(seconds=value["initial_interval"]),
        backoff_coefficient=value["backoff_coefficient"],
        maximum_interval=timedelta(seconds=value["maximum_interval"]),
    )
