"""`makegood webhook sign|send`: a payment to try, signed as its provider would."""

import os
import sys
import uuid
from pathlib import Path
from typing import Annotated

import httpx
import typer

from app import providers
from app.cli.configuration import ConfigOption, configured
from app.cli.output import data, say
from app.cli.status import ExitStatus, Refused, of_answer
from app.clock import DatabaseClock
from app.errors import UnknownSource
from app.providers import Signed
from app.settings import Server, Settings

# The service answers when the payment is on disk; longer than this it is not there.
TIMEOUT_SECONDS = 30

# An address to listen on that is none to send to.
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}  # noqa: S104 - it is compared with, not bound

app = typer.Typer(help="Webhooks, signed with a source's own secret.", no_args_is_help=True)

SourceOption = Annotated[str, typer.Option(help="The source, as the config file names it.")]
FileArgument = Annotated[Path, typer.Argument(help="The body, byte for byte; - is standard input.", metavar="FILE")]
IdOption = Annotated[str | None, typer.Option("--id", help="The delivery's id; else a new one.", show_default=False)]


@app.command()
def sign(source: SourceOption, file: FileArgument, delivery_id: IdOption = None, config: ConfigOption = None) -> None:
    """Print the headers that sign FILE for a source, one `Name: value` a line, as `curl -H @-` takes them.

    Where the provider signs within the body, it is the signed body that is printed, for `curl --data-binary @-`.
    """
    signed = signature(configured(config), source, body_of(file), delivery_id)
    for name, value in signed.headers.items():
        data(f"{name}: {value}")
    if not signed.headers:
        data(signed.body.decode())


@app.command()
def send(
    source: SourceOption,
    file: FileArgument,
    delivery_id: IdOption = None,
    url: Annotated[
        str | None,
        typer.Option(help="The service; else MAKEGOOD_URL, else the config's host and port.", show_default=False),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Sign FILE for a source and post it to a running service; print the answer."""
    settings = configured(config)
    signed = signature(settings, source, body_of(file), delivery_id)
    headers = {**signed.headers, "Content-Type": "application/json"}
    base = url or os.environ.get("MAKEGOOD_URL") or url_of(settings.server)
    try:
        answer = httpx.post(
            f"{base.rstrip('/')}/webhooks/{source}", content=signed.body, headers=headers, timeout=TIMEOUT_SECONDS
        )
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise Refused(f"{base} does not answer: {error}", ExitStatus.UNAVAILABLE) from error
    say(f"{answer.status_code} {answer.reason_phrase}")
    data(answer.text)
    raise typer.Exit(of_answer(answer.status_code))


def signature(settings: Settings, source: str, body: bytes, delivery_id: str | None) -> Signed:
    """A body, signed for a source now. Raises UnknownSource, ConfigurationError, MalformedBody."""
    if source not in settings.sources:
        raise UnknownSource(f'no source named "{source}" in the config file')
    configured_source = settings.sources[source]
    provider = providers.provider(configured_source.provider)
    return provider.sign(configured_source, body, DatabaseClock().wall(), delivery_id or f"msg_{uuid.uuid4().hex}")


def body_of(file: Path) -> bytes:
    """The bytes to sign, untouched."""
    if str(file) == "-":
        return sys.stdin.buffer.read()
    try:
        return file.read_bytes()
    except OSError as error:
        raise Refused(f"{file}: {error.strerror}", ExitStatus.USAGE) from error


def url_of(server: Server) -> str:
    """Where a service with these settings is reached from this machine."""
    host = ANYWHERE.get(server.host, server.host)
    return f"http://{f'[{host}]' if ':' in host and host[0] != '[' else host}:{server.port}"
