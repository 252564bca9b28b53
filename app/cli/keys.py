"""`makegood key new`: an API key, of which the service keeps the hash alone."""

import hashlib
import json
import secrets
from typing import Annotated

import typer

from app.cli.output import Output, OutputOption, as_json, as_lines, data, say
from app.settings import Scope
from app.settings.service import key_name_fault

# So that a key that leaked into a text can be found and told from others.
PREFIX = "mg_"

# 256 bits: no one guesses it, so a plain hash of it is enough.
RANDOM_BYTES = 32

app = typer.Typer(help="API keys.", no_args_is_help=True)


@app.callback()
def keys() -> None:
    """Keeps `key` a group of commands, though it has one."""


@app.command()
def new(
    name: Annotated[str, typer.Option(help="Who holds it; shown in the history of operations.")],
    scope: Annotated[Scope, typer.Option(help="read, or operate, which includes read.")],
    output: OutputOption = Output.TABLE,
) -> None:
    """Make an API key: print it, this once, and the TOML to paste into the config file."""
    fault = key_name_fault(name)
    if fault is not None:
        raise typer.BadParameter(fault, param_hint="--name")
    key, sha256 = make()
    if output is Output.TABLE:
        data(f"{key}\n\n{toml(name, scope, sha256)}")
        say("The key is shown this once. The config file keeps its hash.")
        return
    shown = {"key": key, "name": name, "scope": str(scope), "sha256": sha256}
    if output is Output.JSON:
        as_json(shown)
    else:
        as_lines([shown])


def make() -> tuple[str, str]:
    """A new key and its SHA-256 in hex."""
    key = PREFIX + secrets.token_urlsafe(RANDOM_BYTES)
    return key, hashlib.sha256(key.encode()).hexdigest()


def toml(name: str, scope: str, sha256: str) -> str:
    """The entry of the config file for a key."""
    quoted = json.dumps(name, ensure_ascii=False)
    return f'[[api_keys]]\nname = {quoted}\nscope = "{scope}"\nsha256 = "{sha256}"'
