"""When a call is made again: pure functions of the attempt, the time and a random number that is given."""

from datetime import datetime, timedelta
from typing import Any

from app.saga.definition import Limits, RetryPolicy
from app.saga.model import Operation, Sendings, Status
from app.saga.values import replace


def interval(policy: RetryPolicy, attempt: int) -> timedelta:
    """The wait after the given attempt (1 for the first) before jitter, never more than the policy's maximum."""
    seconds = policy.initial_interval.total_seconds()
    most = policy.maximum_interval.total_seconds()
    for _ in range(1, attempt):
        seconds *= policy.backoff_coefficient
        if seconds >= most:
            break
    return timedelta(seconds=min(seconds, most))


def retry_at(policy: RetryPolicy, attempt: int, now: datetime, jitter: float, asked: datetime | None) -> datetime:
    """When to try again.

    Args:
        jitter: a random number from 0 to 1. The wait is spread over the upper half of the interval ("equal jitter",
            Marc Brooker, Exponential Backoff And Jitter, 2015): operations that failed together come apart, and none
            comes at once.
        asked: the time that the agent asked for (Retry-After); it wins where it is later.
    """
    wait = interval(policy, attempt) * (0.5 + jitter / 2)
    return max(now + wait, asked) if asked else now + wait


def released(operation: Operation, **changes: Any) -> Operation:
    """The operation without its claim, and with fields changed."""
    return replace(operation, complete_by=None, locked_by=None, **changes)


def taken(operation: Operation, worker: str, now: datetime, leased_until: datetime) -> Operation:
    """The operation under a worker's claim, which counts the attempt and makes a new lease."""
    return replace(
        operation,
        status=Status.PROCESSING,
        attempt=operation.attempt + 1,
        lease=operation.lease + 1,
        revision=operation.revision + 1,
        next_run_at=None,
        complete_by=leased_until,
        locked_by=worker,
        updated_at=now,
    )


def again(operation: Operation, at: datetime) -> Operation:
    """The operation after a failure, to run again at `at`, at its deadline at the latest."""
    return released(operation, status=Status.ERROR, next_run_at=min(at, operation.deadline))


def key_expired(sendings: Sendings, limits: Limits, now: datetime) -> bool:
    """Whether a call may not be repeated any more: the repetition could end after its key is forgotten.

    That matters where an earlier sending may have taken effect: it is unknown, or a 409 has said that it is running.
    """
    if not (sendings.unknown or sendings.conflict) or sendings.first_at is None:
        return False
    return now + limits.timeout > sendings.first_at + limits.key_lifetime


def settled_at(sendings: Sendings, limits: Limits, now: datetime) -> datetime:
    """From when on a call that was sent can take effect no more; not before `now`."""
    return now if sendings.last_at is None else max(now, sendings.last_at + limits.in_flight)
