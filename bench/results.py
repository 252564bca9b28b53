"""The figures: every value of every repeat, their medians and spread, the ratios, and whether the targets are met."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median


@dataclass(frozen=True, slots=True)
class Metric:
    """One thing that is measured.

    Args:
        unit: of its values.
        less_is_better: as for times.
        limits: the (side, metric) that every side's value is shown as a ratio to; of several, the best there is.
    """

    unit: str
    less_is_better: bool = False
    limits: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """What must be reached.

    Args:
        sides: ours; the best of them counts.
        against: (side, metric); the best of them counts. Without any, the value itself is bounded.
        bound: of the ratio, or of the value.
    """

    text: str
    sides: tuple[str, ...]
    metric: str
    bound: float
    against: tuple[tuple[str, str], ...] = ()
    at_most: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a target stands.

    Args:
        found: None where a side that it needs was not run.
        without: sides that it should be judged against and that were not run.
    """

    workload: str
    target: Target
    found: float | None
    without: tuple[str, ...] = ()

    @property
    def met(self) -> bool | None:
        """Whether it is reached."""
        if self.found is None:
            return None
        return self.found <= self.target.bound if self.target.at_most else self.found >= self.target.bound


@dataclass(slots=True)
class Figures:
    """The values of one workload, by side and metric, one a repeat."""

    workload: str
    about: str
    metrics: Mapping[str, Metric]
    targets: Sequence[Target]
    values: dict[tuple[str, str], list[float]] = field(default_factory=dict)

    def add(self, side: str, found: Mapping[str, float]) -> None:
        """Takes the figures of one repeat."""
        for metric, value in found.items():
            self.values.setdefault((side, metric), []).append(value)

    def median(self, side: str, metric: str) -> float | None:
        """The median over the repeats; None where there were none."""
        values = self.values.get((side, metric))
        return median(values) if values else None

    def best(self, candidates: Sequence[tuple[str, str]]) -> float | None:
        """The best of some medians."""
        found = [value for side, metric in candidates if (value := self.median(side, metric)) is not None]
        if not found:
            return None
        return min(found) if self.metrics[candidates[0][1]].less_is_better else max(found)

    def ratio(self, side: str, metric: str) -> float | None:
        """A median by the metric's limit."""
        value, limit = self.median(side, metric), self.best(self.metrics[metric].limits)
        return None if value is None or not limit else value / limit

    def verdicts(self) -> list[Verdict]:
        """How the targets stand."""
        return [Verdict(self.workload, target, self._found(target), self._without(target)) for target in self.targets]

    def _without(self, target: Target) -> tuple[str, ...]:
        return tuple(side for side, metric in target.against if (side, metric) not in self.values)

    def _found(self, target: Target) -> float | None:
        value = self.best([(side, target.metric) for side in target.sides])
        if value is None or not target.against:
            return value
        limit = self.best(target.against)
        return value / limit if limit else None


def percentile(ordered: Sequence[float], share: float) -> float:
    """Of sorted values the smallest one that so many are not above."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def figure(value: float) -> str:
    """A number in as many digits as mean something."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"  # three digits
