"""The arithmetic of the figures: a wrong ratio would be worse than none."""

import pytest

from bench.results import Figures, Metric, Target

RATE = Metric("1/s", limits=(("slow limit", "rate"), ("fast limit", "rate")))
TIME = Metric("ms", less_is_better=True, limits=(("peer", "time"), ("other", "time")))


@pytest.fixture
def figures() -> Figures:
    """Three repeats of ours and of two limits."""
    figures = Figures("through", "two sides", {"rate": RATE, "time": TIME}, [])
    for ours, slow, fast in ((90.0, 50.0, 100.0), (80.0, 40.0, 120.0), (300.0, 60.0, 90.0)):
        figures.add("ours", {"rate": ours, "time": 6.0})
        figures.add("slow limit", {"rate": slow})
        figures.add("fast limit", {"rate": fast})
    figures.add("peer", {"time": 8.0})
    figures.add("other", {"time": 5.0})
    return figures


def test_a_figure_is_the_median_of_its_repeats(figures: Figures) -> None:
    assert figures.median("ours", "rate") == 90.0
    assert figures.median("nobody", "rate") is None


def test_a_ratio_is_to_the_best_of_the_limits(figures: Figures) -> None:
    assert figures.ratio("ours", "rate") == 90.0 / 100.0
    assert figures.ratio("slow limit", "rate") == 50.0 / 100.0


def test_of_times_the_best_is_the_smallest(figures: Figures) -> None:
    assert figures.ratio("ours", "time") == 6.0 / 5.0


@pytest.mark.parametrize(
    ("target", "found", "met"),
    [
        (Target("of the limit", ("ours",), "rate", 0.9, RATE.limits), 0.9, True),
        (Target("of the limit", ("ours",), "rate", 0.91, RATE.limits), 0.9, False),
        (Target("the best arrangement counts", ("nobody", "slow limit", "ours"), "rate", 0.9, RATE.limits), 0.9, True),
        (Target("of the best peer", ("ours",), "time", 0.8, TIME.limits, at_most=True), 1.2, False),
        (Target("itself", ("ours",), "time", 6.0, at_most=True), 6.0, True),
    ],
)
def test_a_target_is_judged_by_the_best_of_each_side(figures: Figures, target: Target, found: float, met: bool) -> None:
    figures.targets = [target]
    [verdict] = figures.verdicts()
    assert (verdict.found, verdict.met) == (found, met)


@pytest.mark.parametrize(
    "target",
    [
        Target("we were not run", ("nobody",), "rate", 1.0, RATE.limits),
        Target("the peer was not run", ("ours",), "rate", 1.0, (("nobody", "rate"),)),
    ],
)
def test_a_target_without_both_sides_is_neither_met_nor_missed(figures: Figures, target: Target) -> None:
    figures.targets = [target]
    [verdict] = figures.verdicts()
    assert (verdict.found, verdict.met) == (None, None)


def test_a_target_says_whom_it_was_not_judged_against(figures: Figures) -> None:
    """The best of the peers that were run is not the best of all."""
    figures.targets = [Target("of the best", ("ours",), "rate", 0.9, (("nobody", "rate"), *RATE.limits))]
    [verdict] = figures.verdicts()
    assert (verdict.found, verdict.without) == (0.9, ("nobody",))
