"""`makegood operations list|show|retry|cancel|resolve`: an operator's work, over HTTP."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from app.cli.output import Output, OutputOption, as_columns, as_json, as_lines, data, say
from app.cli.remote import Remote
from app.cli.show import LIST_HEADINGS, list_row, show_operation
from app.saga.model import Json

app = typer.Typer(
    help="Look after operations, over HTTP: MAKEGOOD_URL says where, MAKEGOOD_KEY is an API key.", no_args_is_help=True
)

IdArgument = Annotated[str, typer.Argument(help="The operation's id.", metavar="ID")]
ManyIdArgument = Annotated[
    str | None, typer.Argument(help="The operation's id; or none, with filters.", metavar="[ID]", show_default=False)
]
NoteOption = Annotated[str | None, typer.Option(help="Why; it is kept in the history.", show_default=False)]
RevisionOption = Annotated[
    int | None, typer.Option(help="Only if the operation is still at this revision.", show_default=False)
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="With filters: only count.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="With filters: do not ask.")]

ExternalId = Annotated[str | None, typer.Option(help="The payment's id at its provider.", show_default=False)]
OrderId = Annotated[str | None, typer.Option(help="The order's id.", show_default=False)]
SourceName = Annotated[str | None, typer.Option(help="The source's name.", show_default=False)]
Statuses = Annotated[list[str] | None, typer.Option(help="The status; repeated: any of them.", show_default=False)]
PhaseName = Annotated[str | None, typer.Option(help="purchase or refund.", show_default=False)]
After = Annotated[str | None, typer.Option(help="Created at this time (RFC 3339) or later.", show_default=False)]
Before = Annotated[str | None, typer.Option(help="Created before this time.", show_default=False)]

# What the API takes at once; more come in pages.
PAGE = 200


@dataclass(frozen=True, slots=True)
class Service:
    """Where the commands of this group go."""

    url: str
    key: str

    def remote(self) -> Remote:
        """A connection to it."""
        return Remote(self.url, self.key)


@app.callback()
def connect(
    context: typer.Context,
    url: Annotated[str, typer.Option(envvar="MAKEGOOD_URL", help="The service.")] = "http://127.0.0.1:8080",
    key: Annotated[str, typer.Option(envvar="MAKEGOOD_KEY", help="An API key.", show_default=False)] = "",
) -> None:
    """Keeps where the service is for the command that follows."""
    if not key:
        raise typer.BadParameter("set MAKEGOOD_KEY to an API key (makegood key new makes one)", param_hint="--key")
    context.obj = Service(url, key)


@app.command("list")
def list_(
    context: typer.Context,
    status: Statuses = None,
    external_id: ExternalId = None,
    order_id: OrderId = None,
    source: SourceName = None,
    phase: PhaseName = None,
    created_after: After = None,
    created_before: Before = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, newest first.")] = 50,
    output: OutputOption = Output.TABLE,
) -> None:
    """List operations, newest first."""
    query = filters(status, external_id, order_id, source, phase, created_after, created_before)
    items: list[Json] = []
    with context.obj.remote() as remote:
        for item in remote.pages("/operations", [*query, ("limit", str(min(limit, PAGE)))]):
            items.append(item)
            if len(items) == limit:
                break
    if output is Output.JSON:
        as_json({"items": items})
    elif output is Output.JSONL:
        as_lines(items)
    else:
        as_columns(LIST_HEADINGS, map(list_row, items))


@app.command()
def show(
    context: typer.Context,
    operation_id: IdArgument,
    wait: Annotated[
        int | None, typer.Option(min=0, help="Seconds to wait until it is final or held.", show_default=False)
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show an operation with its steps, its attempts and its history."""
    with context.obj.remote() as remote:
        operation = remote.get(f"/operations/{operation_id}", wait=wait)
        attempts = remote.get(f"/operations/{operation_id}/attempts")["items"]
        history = remote.get(f"/operations/{operation_id}/history")["items"]
    if output is Output.TABLE:
        show_operation(operation, attempts, history)
    else:
        answer(operation | {"attempts": attempts, "history": history}, output)


@app.command()
def retry(
    context: typer.Context,
    operation_id: ManyIdArgument = None,
    note: NoteOption = None,
    revision: RevisionOption = None,
    status: Statuses = None,
    external_id: ExternalId = None,
    order_id: OrderId = None,
    source: SourceName = None,
    phase: PhaseName = None,
    created_after: After = None,
    created_before: Before = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Run an operation again now, or all that the filters name."""
    query = filters(status, external_id, order_id, source, phase, created_after, created_before)
    body: dict[str, Json] = {"note": note} if note else {}
    with context.obj.remote() as remote:
        if chosen(operation_id, query):
            answer(remote.post(f"/operations/{operation_id}/retry", body, revision=revision), output)
        else:
            many(remote, "retry", query, body, dry_run=dry_run, yes=yes, output=output)


@app.command()
def cancel(
    context: typer.Context,
    operation_id: ManyIdArgument = None,
    note: NoteOption = None,
    undo_succeeded: Annotated[bool, typer.Option("--undo-succeeded", help="Also one that has succeeded.")] = False,
    revision: RevisionOption = None,
    status: Statuses = None,
    external_id: ExternalId = None,
    order_id: OrderId = None,
    source: SourceName = None,
    phase: PhaseName = None,
    created_after: After = None,
    created_before: Before = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Turn an operation to refund, or all that the filters name."""
    query = filters(status, external_id, order_id, source, phase, created_after, created_before)
    body: dict[str, Json] = {"note": note} if note else {}
    if undo_succeeded:
        body["undo_succeeded"] = True
    with context.obj.remote() as remote:
        if chosen(operation_id, query):
            answer(remote.post(f"/operations/{operation_id}/cancel", body, revision=revision), output)
        else:
            many(remote, "cancel", query, body, dry_run=dry_run, yes=yes, output=output)


@app.command()
def resolve(
    context: typer.Context,
    operation_id: IdArgument,
    outcome: Annotated[str, typer.Option(help="succeeded or refunded; of a step: done or undone.")],
    note: Annotated[str, typer.Option(help="What was found, and how it was settled; it is kept in the history.")],
    step: Annotated[str | None, typer.Option(help="Settle this step alone.", show_default=False)] = None,
    revision: RevisionOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Say how a human has settled an operation, or one step of it; nothing more is called for that."""
    body = {"outcome": outcome, "note": note} | ({"step": step} if step else {})
    with context.obj.remote() as remote:
        answer(remote.post(f"/operations/{operation_id}/resolve", body, revision=revision), output)


def filters(
    status: Sequence[str] | None,
    external_id: str | None,
    order_id: str | None,
    source: str | None,
    phase: str | None,
    created_after: str | None,
    created_before: str | None,
) -> list[tuple[str, str]]:
    """The API's query for the filters that were given."""
    named = {
        "external_id": external_id,
        "order_id": order_id,
        "source": source,
        "phase": phase,
        "created_after": created_after,
        "created_before": created_before,
    }
    given = [(name, value) for name, value in named.items() if value is not None]
    return [*(("status", value) for value in status or ()), *given]


def chosen(operation_id: str | None, query: Sequence[tuple[str, str]]) -> bool:
    """Whether one operation is meant. Raises BadParameter where it is neither one nor many, or both."""
    if (operation_id is None) == (not query):
        raise typer.BadParameter("give either an operation's id or filters")
    return operation_id is not None


def many(
    remote: Remote,
    action: str,
    query: Sequence[tuple[str, str]],
    body: dict[str, Json],
    *,
    dry_run: bool,
    yes: bool,
    output: Output,
) -> None:
    """Acts on all that a query names, after a count and a question where a person can answer it."""
    if not dry_run and not yes:
        if not sys.stdin.isatty():
            raise typer.BadParameter("nobody can be asked here: add --yes, or --dry-run to count")
        counted = remote.post(f"/operations/{action}", body | {"dry_run": True}, query)
        typer.confirm(f"{action} {counted['changed']} of {counted['matched']} operations?", abort=True, err=True)
    if dry_run:
        body["dry_run"] = True
    answer(remote.post(f"/operations/{action}", body, query), output, dry_run=dry_run)


def answer(value: Json, output: Output, *, dry_run: bool = False) -> None:
    """Prints what an operator's call was answered with: an operation, or how many were changed, or would be."""
    if output is Output.JSON:
        as_json(value)
    elif output is Output.JSONL:
        as_lines([value])
    elif "matched" in value:
        data(f"matched {value['matched']}, {'would change' if dry_run else 'changed'} {value['changed']}")
    else:
        as_columns(LIST_HEADINGS, [list_row(value)])
        say(value.get("why") or "")
