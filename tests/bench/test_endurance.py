"""The load of an hour: what it judges level, what it draws, and that it finds a payment that is not where it must be."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from bench.checks import WorkNotDone
from bench.children import ROOT
from bench.endurance import panels, report
from bench.endurance.balance import compare
from bench.endurance.measures import Measure, Verdict, judge, verdict
from bench.endurance.report import Found
from bench.endurance.sample import Asked, Sample, took, values

TIMED = Measure("done p50", "ms", 1.25, timed=True)
SIZE = Measure("attempts size", "MB", 1.1, 1.0)
TABLE = {"rows": 100, "live": 90, "dead": 7, "updated": 0, "hot": 0, "autovacuums": 2, "bytes": 60_000}


def sample(at: float, *, disturbed: bool = False, **found: float) -> Sample:
    """A sample with these values, whose names have blanks for `_`."""
    return Sample(at, {name.replace("_", " "): value for name, value in found.items()}, {}, {}, {}, disturbed)


@pytest.mark.parametrize(
    ("second", "last", "level"),
    [(20.0, 21.9, True), (20.0, 22.1, False), (2.0, 2.9, True), (2.0, 1.0, True), (None, 1.0, None), (1.0, None, None)],
)
def test_level_is_within_the_bound_or_the_slack_and_to_fall_is_level(
    second: float | None, last: float | None, level: bool | None
) -> None:
    assert Verdict(SIZE, second, last).level is level


def test_what_has_no_bound_is_not_judged() -> None:
    assert Verdict(Measure("autovacuums", "runs"), 1.0, 100.0).level is None


def test_the_last_quarter_is_held_against_the_second_and_the_others_do_not_count() -> None:
    found = [sample(at, attempts_size=value) for at, value in ((25, 1), (30, 5), (50, 7), (60, 99), (80, 6), (100, 8))]
    judged = next(each for each in judge(found, 100.0) if each.measure.name == "attempts size")
    assert (judged.second, judged.last) == (6.0, 7.0)


def test_a_disturbed_sample_counts_for_sizes_and_for_times_only_where_nearly_all_are_disturbed() -> None:
    quiet = [sample(at, done_p50=1.0, attempts_size=1.0) for at in range(3)]
    loud = [sample(at, disturbed=True, done_p50=9.0, attempts_size=9.0) for at in range(4)]
    assert verdict(TIMED, quiet, quiet + loud) == Verdict(TIMED, 1.0, 1.0)
    assert verdict(SIZE, quiet, quiet + loud) == Verdict(SIZE, 1.0, 9.0)
    assert verdict(TIMED, quiet, quiet[:2] + loud) == Verdict(TIMED, 1.0, 9.0, disturbed=True)


def test_a_time_that_has_grown_while_others_used_the_machine_is_not_judged() -> None:
    grown, level = Verdict(TIMED, 1.0, 9.0, disturbed=True), Verdict(TIMED, 1.0, 1.1, disturbed=True)
    assert (grown.level, grown.word) == (None, "disturbed")
    assert (level.level, level.word) == (True, "level")


def test_times_are_told_apart_by_what_became_of_the_payment() -> None:
    ended = [("a_0", 0.010), ("a_1", 0.030), ("a_17", 0.050), ("a_41", 1.0)]
    found = took(ended)
    assert found == {"done p50": 10.0, "done p99": 30.0, "refunded p50": 50.0, "after unknown p50": 1000.0}


def test_a_window_counts_wal_by_the_operation_and_tables_that_are_kept_by_the_row() -> None:
    tables = {"operations": {**TABLE, "index_bytes": 40_000}, "attempts": {**TABLE, "index_bytes": 0}}
    asked = Asked(tables, {"queue_due": 8_192, "operations_newest": 1}, 3, 0, 5_000.0, [("a_0", 0.01)] * 10)
    found = values(asked, {"p50": 0.002, "p99": 0.004}, 1_000.0)
    assert (found["acknowledged p50"], found["acknowledged p99"]) == (2.0, 4.0)
    assert (found["WAL"], found["open operations"], found["autovacuums"]) == (400.0, 3, 4)
    assert (found["operations row"], found["operations indexes"]) == (600.0, 400.0)
    assert (found["attempts size"], found["queues"]) == (0.06, 0.008192)


def test_a_window_in_which_nothing_happened_has_no_times() -> None:
    empty = {**TABLE, "rows": 0, "index_bytes": 0}
    found = values(Asked({"operations": empty}, {}, 9, 0, 0.0, []), {}, 0.0)
    assert "WAL" not in found
    assert "done p50" not in found
    assert "operations row" not in found
    assert found["open operations"] == 9


def books(**changed: Any) -> Mapping[str, Any]:
    """A supplier's books of the first hundred webhooks."""
    sold = [number for number in range(100) if number not in {17, 67, 30, 80}]
    return {"sold": sold, "given_back": [17, 67], "twice": [], **changed}


def test_a_run_balances_where_all_payments_are_where_they_must_be() -> None:
    found = {"succeeded": set(books()["sold"]), "refunded": {17, 67}}
    compare(found, books(), 100, set())
    found["succeeded"].remove(99)
    unsold = books(sold=sorted(found["succeeded"]))
    compare(found, unsold, 100, {99})
    with pytest.raises(WorkNotDone):  # the one that was not sent is missing only where nobody says so
        compare(found, unsold, 100, set())


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"sold": books()["sold"][1:]}, "sales: 1 missing"),
        ({"sold": [*books()["sold"], 17]}, "sales: 0 missing .* 1 too many"),
        ({"given_back": [17]}, "refunds: 1 missing"),
        ({"twice": [3]}, "twice 1, not 0"),
    ],
)
def test_books_that_say_something_else_are_found(changed: Mapping[str, Any], said: str) -> None:
    found = {"succeeded": set(books()["sold"]), "refunded": {17, 67}}
    with pytest.raises(WorkNotDone, match=said):
        compare(found, books(**changed), 100, set())


def test_a_payment_that_has_no_operation_or_is_held_is_found() -> None:
    sold = set(books()["sold"])
    with pytest.raises(WorkNotDone, match="succeeded: 1 missing"):
        compare({"succeeded": sold - {5}, "refunded": {17, 67}}, books(), 100, set())
    with pytest.raises(WorkNotDone, match="held 1"):
        compare({"succeeded": sold, "refunded": {17, 67}, "held": {5}}, books(), 100, set())


def test_the_plot_has_a_panel_for_each_measure_and_says_what_is_not_level() -> None:
    found = [sample(at, attempts_size=size, done_p50=5 * size) for at, size in ((40, 1.0), (60, 1.0), (100, 100.0))]
    verdicts = [
        Verdict(SIZE, 1.0, 100.0),
        Verdict(TIMED, 5.0, 500.0),
        Verdict(Measure("memory", "MB", 1.1), None, None),
    ]
    drawn = ET.fromstring(panels.plot(found, verdicts, 100.0, "a <title>"))  # noqa: S314 - we have just drawn it ourselves
    texts = [text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert {"a <title>", "attempts size (MB)", "NOT LEVEL", "done p50 (ms)", "memory (MB)", "not known"} <= set(texts)
    lines = [line.attrib["points"].split() for line in drawn.iter("{http://www.w3.org/2000/svg}polyline")]
    heights = [[float(point.split(",")[1]) - panels.TOP for point in line] for line in lines]
    assert heights[0] == [pytest.approx(panels.PLOT_HEIGHT * 0.99, abs=0.1)] * 2 + [0.0], "sizes are never cut off"
    assert heights[1] == [pytest.approx(panels.PLOT_HEIGHT * 0.75, abs=0.1)] * 2 + [0.0]
    assert texts.count("cut off; at most 500") == 1, "a time far above the others is, and is said"


def test_what_is_kept_is_json_and_names_what_is_missing(tmp_path: Path) -> None:
    options = {"minutes": 1.0, "rate": 10.0, "retention": "10m", "seconds": 60.0}
    found = Found(options, {"cores": "2"}, [sample(20, attempts_size=5.0), sample(60, attempts_size=50.0)])
    report.keep(tmp_path, found)
    document = json.loads((tmp_path / "endurance.json").read_text(encoding="utf-8"))
    judged = {one["name"]: one["level"] for one in document["verdicts"]}
    assert (document["good"], judged["attempts size"], judged["memory"]) == (False, False, None)
    assert len(document["samples"]) == 2
    ET.fromstring((tmp_path / "endurance.svg").read_text(encoding="utf-8"))  # noqa: S314 - as above


@pytest.mark.parametrize("arguments", [["--minutes", "0"], ["--rate", "nan"], ["--minutes", "0.1"]])
def test_what_is_asked_for_wrongly_is_said(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "bench.endurance", *arguments]
    ended = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert "error:" in ended.stderr
