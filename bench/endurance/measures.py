"""What must stay level, and whether it does: the median of the last quarter beside that of the second."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from bench.endurance.sample import Sample

ENOUGH = 3  # samples that nothing has disturbed, in both quarters; where there are fewer, all of them count
DEAD = 10_000.0  # rows: half of what the migrations let lie before autovacuum comes, so where a quarter meets the saw does not count


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
    Measure("operations dead", "rows", 1.5, DEAD),
    Measure("attempts dead", "rows", 1.5, DEAD),
    Measure("history dead", "rows", 1.5, DEAD),
    Measure("events dead", "rows", 1.5, DEAD),
    Measure("operations rows", "", None),
    Measure("attempts rows", "", None),
    Measure("history rows", "", None),
    Measure("autovacuums", "runs until then", None),
    Measure("load late", "ms at most", None),
    Measure("foreign", "% of the machine", None),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a measure stands.

    Args:
        second, last: the medians of these quarters; None where a quarter has no value.
        disturbed: whether something else shows in them: what has grown may then be the others' doing.
    """

    measure: Measure
    second: float | None
    last: float | None
    disturbed: bool = False

    @property
    def level(self) -> bool | None:
        """Whether it has stayed level; to fall is level. None where it is not judged, or cannot be."""
        if self.measure.bound is None or self.second is None or self.last is None:
            return None
        level = self.last <= max(self.second * self.measure.bound, self.second + self.measure.slack)
        return None if self.disturbed and not level else level

    @property
    def word(self) -> str:
        """It in a word or two."""
        if self.measure.bound is None:
            return "not judged"
        return {True: "level", False: "NOT LEVEL", None: "disturbed" if self.disturbed else "not known"}[self.level]


def judge(samples: Sequence[Sample], seconds: float) -> list[Verdict]:
    """How all measures stand after a run of so many seconds."""
    second = [sample for sample in samples if 0.25 * seconds < sample.at <= 0.5 * seconds]
    last = [sample for sample in samples if 0.75 * seconds < sample.at]
    return [verdict(measure, second, last) for measure in MEASURES]


def verdict(measure: Measure, second: Iterable[Sample], last: Iterable[Sample]) -> Verdict:
    """How one measure stands after these two quarters."""
    quarters = [[sample for sample in quarter if measure.name in sample.values] for quarter in (second, last)]
    quiet = [[sample for sample in quarter if not sample.disturbed] for quarter in quarters]
    enough = all(len(quarter) >= ENOUGH for quarter in quiet)
    counted = quiet if measure.timed and enough else quarters
    medians = [median(each.values[measure.name] for each in quarter) if quarter else None for quarter in counted]
    return Verdict(measure, medians[0], medians[1], disturbed=measure.timed and not enough)
