"""The command `makegood`: the outermost ring, where a person or a machine starts and asks things.

Data goes to stdout, messages to stderr. What each command's exit status says stands in `app.cli.status`.
"""

import io
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from app.cli import configuration, keys, operations, service, webhooks
from app.cli.demo import demo
from app.cli.output import say
from app.cli.reconciliation import reconcile
from app.cli.status import ExitStatus, Refused, of_error
from app.errors import ConfigurationError, MakegoodError

app = typer.Typer(
    name="makegood",
    help="Makes each payment good: the purchase is made, or the money goes back, or a person is asked.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command()(service.serve)
app.command()(service.migrate)
app.command()(configuration.check)
app.add_typer(keys.app, name="key")
app.add_typer(webhooks.app, name="webhook")
app.add_typer(operations.app, name="operations")
app.command()(reconcile)
app.command()(demo)
app.command()(service.openapi)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"makegood {version('makegood')}")
        raise typer.Exit


@app.callback()
def makegood(
    shown: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Holds the options that stand before any command."""
    del shown  # its callback has printed it and left


def main() -> None:
    """Runs the command line and leaves with its exit status."""
    for stream in (sys.stdout, sys.stderr):
        # What came from outside may hold what UTF-8, or this terminal's encoding, does not have.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app(prog_name="makegood")
    except ConfigurationError as error:
        for fault in error.faults:
            say(fault)
        sys.exit(ExitStatus.USAGE)
    except MakegoodError as error:
        say(f"{error.code}: {error}")
        sys.exit(of_error(error))
    except Refused as refused:
        say(str(refused))
        sys.exit(refused.status)
    except KeyboardInterrupt:
        sys.exit(ExitStatus.INTERRUPTED)
