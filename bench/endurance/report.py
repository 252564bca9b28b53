"""What a long run leaves: a line for each sample, a table of verdicts, `endurance.json` and `endurance.svg`."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.endurance.measures import Verdict, judge
from bench.endurance.panels import plot
from bench.endurance.sample import Sample
from bench.report import progress
from bench.results import figure


@dataclass(slots=True)
class Found:
    """What a run has found by now.

    Args:
        options: what was asked for, with `seconds`, how long the load runs.
        missed: samples that could not be taken, and why.
        balance: the counts at the end; None until then.
    """

    options: Mapping[str, Any]
    machine: Mapping[str, str]
    samples: list[Sample] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    balance: Mapping[str, Any] | None = None
    failure: str | None = None

    def verdicts(self) -> list[Verdict]:
        """How the measures stand."""
        return judge(self.samples, self.options["seconds"])

    @property
    def good(self) -> bool:
        """Whether all was done, every payment is where it must be, and nothing that is judged has grown."""
        return (
            self.failure is None
            and self.balance is not None
            and all(each.level is not False for each in self.verdicts())
        )


def say(sample: Sample) -> None:
    """One line on stderr."""
    names = ("acknowledged p50", "acknowledged p99", "done p50", "done p99", "memory", "open operations", "WAL")
    parts = [f"{name} {figure(sample.values[name])}" for name in names if name in sample.values]
    progress(f"{sample.at / 60:6.1f} min: {', '.join(parts)}{', disturbed' if sample.disturbed else ''}")


def show(found: Found) -> None:
    """Prints the verdicts."""
    lines = [f"{name}: {value}" for name, value in {**found.machine, **found.options}.items()]
    disturbed = sum(sample.disturbed for sample in found.samples)
    lines += [f"samples: {len(found.samples)}, of them {disturbed} while something else used the machine", ""]
    lines += ["median of the last quarter beside the second", *map(judged, found.verdicts()), ""]
    lines += [f"MISSED: {missed}" for missed in found.missed]
    lines.append(f"every payment is where it must be: {found.balance or 'NOT KNOWN'}")
    lines += [f"FAILED: {found.failure}"] if found.failure else []
    print("\n".join(lines), flush=True)


def judged(verdict: Verdict) -> str:
    """One measure, and how it stands."""
    second, last = ("-" if value is None else figure(value) for value in (verdict.second, verdict.last))
    ratio = f"{verdict.last / verdict.second:6.2f} x" if verdict.second and verdict.last is not None else ""
    measure = verdict.measure
    return f"  {measure.name:20} {second:>12} -> {last:>12} {measure.unit:20} {ratio:9} {verdict.word}"


def keep(folder: Path, found: Found) -> None:
    """Writes what is known by now."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document(found), indent=1) + "\n"
    (folder / "endurance.json").write_text(text, encoding="utf-8")
    options = found.options
    title = f"{options['rate']:g} webhooks a second for {options['minutes']:g} minutes, kept for {options['retention']}"
    drawn = plot(found.samples, found.verdicts(), options["seconds"], title)
    (folder / "endurance.svg").write_text(drawn, encoding="utf-8")


def document(found: Found) -> dict[str, Any]:
    """All of it, for whoever wants to compute with it."""
    return {
        "machine": dict(found.machine),
        "options": dict(found.options),
        "good": found.good,
        "failure": found.failure,
        "balance": found.balance,
        "missed": found.missed,
        "verdicts": [
            {**asdict(each.measure), "second": each.second, "last": each.last, "level": each.level, "word": each.word}
            for each in found.verdicts()
        ],
        "samples": [asdict(sample) for sample in found.samples],
    }
