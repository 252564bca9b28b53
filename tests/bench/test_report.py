"""What is printed and drawn: each figure with its spread, and what is not reached said in so many words."""

from xml.etree import ElementTree as ET

import pytest

from bench import plot, report
from bench.results import Figures, Metric, Target, Verdict
from bench.workloads.latency import percentiles

LIMITS = (("limit & <bound>", "rate"),)
TARGET = Target("ours, of the limit", ("ours",), "rate", 0.75, LIMITS)


@pytest.fixture
def figures() -> Figures:
    """Two repeats."""
    figures = Figures("accept", "two sides", {"rate": Metric("1/s", limits=LIMITS)}, [TARGET])
    for ours, limit in ((600.0, 1000.0), (800.0, 1200.0)):
        figures.add("ours", {"rate": ours})
        figures.add("limit & <bound>", {"rate": limit})
    return figures


def test_a_line_has_median_spread_and_ratio(figures: Figures) -> None:
    line, _ = report.table(figures)
    assert line.split() == ["rate", "ours", "700", "(600", "..", "800)", "1/s", "0.64", "x", "limit"]


@pytest.mark.parametrize(("found", "said"), [(0.75, " reached"), (0.74, "NOT REACHED"), (None, "not run")])
def test_a_target_says_how_it_stands(found: float | None, said: str) -> None:
    assert report.judged(Verdict("accept", TARGET, found)).endswith(said)


def test_the_plot_has_a_bar_for_each_side_and_names_it(figures: Figures) -> None:
    drawn = ET.fromstring(plot.plot([figures]))  # noqa: S314 - we have just drawn it ourselves
    texts = [text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert {"ours", "limit & <bound>", "accept: rate (1/s)"} <= set(texts)
    bars = [float(bar.attrib["width"]) for bar in drawn.iter("{http://www.w3.org/2000/svg}rect")][1:]
    assert bars == [pytest.approx(plot.BAR * 700 / 1200, abs=0.1), pytest.approx(plot.BAR * 1100 / 1200, abs=0.1)]


def test_a_percentile_is_a_value_that_was_measured() -> None:
    found = percentiles("done", [number / 1000 for number in range(1000, 0, -1)])
    assert found == {"done p50": 500.0, "done p99": 990.0, "done p99.9": 999.0}
    assert percentiles("done", [0.002]) == {"done p50": 2.0, "done p99": 2.0, "done p99.9": 2.0}
