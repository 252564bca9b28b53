"""What the bench says: a table on stdout, the same and every single value as JSON, and a plot."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.plot import plot
from bench.results import Figures, Verdict, figure
from bench.stage import Stage

SIDE, METRIC, FIGURE = 36, 19, 34  # widths of the columns


def progress(line: str) -> None:
    """Says on stderr what is going on."""
    print(line, file=sys.stderr, flush=True)


def show(stage: Stage, found: Sequence[Figures], machine: Mapping[str, str]) -> None:
    """Prints the table."""
    lines = [f"{name}: {value}" for name, value in {**machine, **stage.notes}.items()]
    for figures in found:
        lines += ["", f"{figures.workload}: {figures.about}", *table(figures)]
    verdicts = [verdict for figures in found for verdict in figures.verdicts()]
    lines += ["", "must reach", *map(judged, verdicts)]
    lines += [f"WARNING: {warning}" for warning in stage.warnings]
    lines += [f"FAILED: {failure}" for failure in stage.failures]
    print("\n".join(lines), flush=True)


def keep(folder: Path, stage: Stage, found: Sequence[Figures], machine: Mapping[str, str]) -> None:
    """Writes `bench.json` and `bench.svg`, of as many workloads as have run."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench.json").write_text(json.dumps(document(stage, found, machine), indent=1) + "\n", encoding="utf-8")
    (folder / "bench.svg").write_text(plot(found), encoding="utf-8")
    progress(f"written: {folder}/bench.json, {folder}/bench.svg")


def table(figures: Figures) -> list[str]:
    """One line a side and metric: median, smallest and largest, and the ratio to the limit."""
    lines = []
    for metric, meant in figures.metrics.items():
        for side in dict.fromkeys(side for side, of in figures.values if of == metric):
            values = figures.values[side, metric]
            ratio = figures.ratio(side, metric)
            shown = f"{figure(figures.median(side, metric) or 0)} ({figure(min(values))} .. {figure(max(values))}) {meant.unit}"
            beside = "" if ratio is None else f"{ratio:6.2f} x limit"
            lines.append(f"  {metric:{METRIC}} {side:{SIDE}} {shown:{FIGURE}} {beside}".rstrip())
    return lines


def judged(verdict: Verdict) -> str:
    """One target, and how it stands."""
    bound = f"{'at most' if verdict.target.at_most else 'at least'} {verdict.target.bound:g}"
    words = {True: "reached", False: "NOT REACHED", None: "not run"}
    found = "-" if verdict.found is None else f"{verdict.found:.3g}"
    without = f" (without {', '.join(verdict.without)})" if verdict.without and verdict.found is not None else ""
    return f"  {verdict.target.text:60} {bound:16} {found:8} {words[verdict.met]}{without}"


def document(stage: Stage, found: Sequence[Figures], machine: Mapping[str, str]) -> dict[str, Any]:
    """All values, for whoever wants to compute with them."""
    return {
        "machine": dict(machine),
        "options": {name: getattr(stage.options, name) for name in type(stage.options).__slots__},
        "warnings": stage.warnings,
        "failures": stage.failures,
        "notes": stage.notes,
        "targets": [
            {
                "workload": one.workload,
                "text": one.target.text,
                "bound": one.target.bound,
                "found": one.found,
                "met": one.met,
                "without": one.without,
            }
            for figures in found
            for one in figures.verdicts()
        ],
        "workloads": {figures.workload: values(figures) for figures in found},
    }


def values(figures: Figures) -> list[dict[str, Any]]:
    """Every value of one workload."""
    return [
        {
            "side": side,
            "metric": metric,
            "unit": figures.metrics[metric].unit,
            "median": figures.median(side, metric),
            "ratio": figures.ratio(side, metric),
            "values": each,
        }
        for (side, metric), each in figures.values.items()
    ]
