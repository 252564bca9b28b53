"""`makegood reconcile`: what a provider's books say beside ours, and what no webhook has told of is taken in."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Self

import typer
from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.table import Table

from app import main
from app.cli.configuration import ConfigOption, configured
from app.cli.output import as_columns, as_json, printable, say
from app.cli.service import run
from app.cli.show import money
from app.cli.status import ExitStatus
from app.errors import UnknownSource
from app.reconcile import Difference, Finding, Progress, Report
from app.saga.model import Json
from app.settings.durations import duration

HEADINGS = ("payment", "order", "difference", "here", "there", "operation", "about")

STYLES = {Difference.MISSING: "green", Difference.GIVEN_BACK: "dim"}


def reconcile(
    source: Annotated[str, typer.Option(help="The source, as the config file names it.")],
    since: Annotated[str, typer.Option(help='How far back: a duration such as "24h" or "30d".')] = "24h",
    as_json_: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    config: ConfigOption = None,
) -> None:
    """Ask a source's provider for its payments; take in what no webhook has told of, and list what differs.

    Exit status 1 when something was missing or differs, 0 when all agree. Running it again changes nothing.
    """
    try:
        back = duration(since)
    except ValueError as wrong:
        raise typer.BadParameter(str(wrong), param_hint="--since") from wrong
    settings = configured(config)
    if source not in settings.sources:
        raise UnknownSource(f'no source named "{source}" in the config file')
    with Watched(Console(stderr=True)) as watch:
        report = run(main.reconcile(settings, settings.sources[source], back, watch))
    if as_json_:
        as_json(_json(report))
    else:
        show(report, Console())
    say(_summary(report))
    if report.differences:
        raise typer.Exit(ExitStatus.FAILURE)


class Watched:
    """A bar on a terminal while payments are read; nobody knows how many there will be. Elsewhere nothing."""

    def __init__(self, console: Console) -> None:
        self._bar = Bar(
            SpinnerColumn(),
            BarColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("asking", total=None)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, progress: Progress) -> None:
        """Says how far it has come."""
        said = f"{progress.payments} payments, {progress.missing} missing, {progress.differences} to look at"
        self._bar.update(self._task, description=said)


def show(report: Report, console: Console) -> None:
    """What was found, as a table; nothing where all agree."""
    if not report.findings:
        return
    rows = [_row(finding) for finding in report.findings]
    if not console.is_terminal:
        as_columns(HEADINGS, rows)
        return
    table = Table(box=None, pad_edge=False)
    for heading in HEADINGS:
        table.add_column(heading, overflow="fold")
    for finding, row in zip(report.findings, rows, strict=True):
        table.add_row(*map(printable, row), style=STYLES.get(finding.difference, "yellow"))
    console.print(table)


def _row(finding: Finding) -> Sequence[object]:
    what = finding.difference.value.replace("_", " ")
    sides = (_shown(finding.here, finding.currency), _shown(finding.there, finding.currency))
    return (finding.payment_id, finding.order_id, what, *sides, finding.operation_id, finding.detail)


def _shown(value: int | str | None, currency: str | None) -> object:
    return money(value, currency) if isinstance(value, int) and currency is not None else value


def _summary(report: Report) -> str:
    others = report.differences - report.missing
    found = [f"{report.missing} taken in"] if report.missing else []
    found += [f"{others} to look at"] if others else []
    return f"{report.payments} payments since {report.since:%Y-%m-%d %H:%M:%S} UTC: {', '.join(found) or 'all agree'}"


def _json(report: Report) -> Json:
    return {
        "source": report.source,
        "since": report.since.isoformat(),
        "until": report.until.isoformat(),
        "payments": report.payments,
        "missing": report.missing,
        "differences": report.differences,
        "findings": [_finding(finding) for finding in report.findings],
    }


def _finding(finding: Finding) -> Json:
    operation = None if finding.operation_id is None else str(finding.operation_id)
    return {**asdict(finding), "difference": finding.difference.value, "operation_id": operation}
