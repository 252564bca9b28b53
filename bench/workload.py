"""A workload, and the sides that take turns at it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.results import Metric, Target
from bench.stage import Stage

OURS = "makegood"

Run = Callable[[], Awaitable[Mapping[str, float]]]


@dataclass(frozen=True, slots=True)
class Side:
    """One contestant: each call of `run` is one repeat and returns its figures by their metric."""

    name: str
    run: Run


@dataclass(frozen=True, slots=True)
class Workload:
    """One comparison.

    Args:
        about: one line, as it stands over the table.
        sides: makes them, and what they share.
    """

    name: str
    about: str
    metrics: Mapping[str, Metric]
    targets: Sequence[Target]
    sides: Callable[[Stage], Awaitable[Sequence[Side]]]
