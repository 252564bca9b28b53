"""What must stay level, and whether it does: the median of the last quarter beside that of the second."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from bench.endurance.sample import Sample

ENOUGH = 3  # samples of a quarter that nothing has disturbed; where there are fewer, all of them count


@dataclass(frozen=True, slots=True)
class Measure:
    """One thing that is sampled.

    Args:
        bound: what the last quarter may be of the second; None where it is shown and not judged.
        slack: what it may be above it whatever the ratio, in its unit: less means nothing here.
        timed: whether a busy machine shows in it, so that disturbed samples are left out.
    """

    name: str
    unit: str
    bound: float | None = None
    slack: float = 0.0
    timed: bool = False


MEASURES = (
    Measure("acknowledged p50", "ms", 1.25, 1.0, timed=True),
    Measure("acknowledged p99", "ms", 1.5, 10.0, timed=True),
    Measure("done p50", "ms", 1.25, 2.0, timed=True),
    Measure("done p99", "ms", 1.5, 20.0, timed=True),
    Measure("refunded p50", "ms", 1.25, 5.0, timed=True),
    Measure("after unknown p50", "ms", 1.25, 100.0, timed=True),
    Measure("open operations", "", 1.5, 20.0, timed=True),
    Measure("memory", "MB", 1.1, 3.0),
    Measure("attempts size", "MB", 1.1, 1.0),
    Measure("history size", "MB", 1.1, 1.0),
    Measure("queues", "MB", 1.1, 1.0),
    Measure("operations row", "bytes a row", 1.1),
    Measure("operations indexes", "bytes a row", 1.1),
    Measure("events row", "bytes a row", 1.1),
    Measure("events indexes", "bytes a row", 1.1),
    Measure("WAL", "bytes an operation", 1.2),
    Measure("operations dead", "rows", 1.5, 5_000.0),
    Measure("attempts dead", "rows", 1.5, 5_000.0),
    Measure("history dead", "rows", 1.5, 5_000.0),
    Measure("events dead", "rows", 1.5, 5_000.0),
    Measure("operations rows", "", None),
    Measure("attempts rows", "", None),
    Measure("history rows", "", None),
    Measure("autovacuums", "runs until then", None),
    Measure("foreign", "% of the machine", None),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a measure stands.

    Args:
        second, last: the medians of these quarters; None where a quarter has no value.
    """

    measure: Measure
    second: float | None
    last: float | None

    @property
    def level(self) -> bool | None:
        """Whether it has stayed level; to fall is level. None where it is not judged, or cannot be."""
        if self.measure.bound is None or self.second is None or self.last is None:
            return None
        return self.last <= max(self.second * self.measure.bound, self.second + self.measure.slack)


def judge(samples: Sequence[Sample], seconds: float) -> list[Verdict]:
    """How all measures stand after a run of so many seconds."""
    second = [sample for sample in samples if 0.25 * seconds < sample.at <= 0.5 * seconds]
    last = [sample for sample in samples if 0.75 * seconds < sample.at]
    return [Verdict(measure, middle(measure, second), middle(measure, last)) for measure in MEASURES]


def middle(measure: Measure, samples: Iterable[Sample]) -> float | None:
    """The median of a measure; None where it has no value."""
    having = [sample for sample in samples if measure.name in sample.values]
    quiet = [sample for sample in having if not sample.disturbed]
    counted = quiet if measure.timed and len(quiet) >= ENOUGH else having
    return median(sample.values[measure.name] for sample in counted) if counted else None
