"""`makegood serve`, `migrate` and `openapi`: the service itself."""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Annotated, TypeVar

import typer
from uvicorn.loops.auto import auto_loop_factory

from app import main
from app.cli.configuration import ConfigOption, configured
from app.cli.output import as_json, data, say
from app.wiring import Role

T = TypeVar("T")

HIGHEST_PORT = 65535

HostOption = Annotated[str | None, typer.Option(help="Instead of [server] host.", show_default=False)]
PortOption = Annotated[
    int | None,
    typer.Option(help="Instead of [server] port; 0 takes a free one.", min=0, max=HIGHEST_PORT, show_default=False),
]


def serve(
    config: ConfigOption = None,
    role: Annotated[Role, typer.Option(help="What this process does; a worker serves its health alone.")] = Role.ALL,
    host: HostOption = None,
    port: PortOption = None,
) -> None:
    """Run the service until SIGTERM or Ctrl-C."""
    settings = configured(config)
    server = settings.server
    server = replace(server, host=host or server.host, port=server.port if port is None else port)
    run(main.serve(replace(settings, server=server), role=role, ready=announce))


def run(coroutine: Coroutine[None, None, T]) -> T:
    """Runs a coroutine to its end, on uvloop where there is one."""
    with asyncio.Runner(loop_factory=auto_loop_factory()) as runner:
        return runner.run(coroutine)


def announce(url: str) -> None:
    """The one line that says that the service is ready."""
    data(f"makegood: listening on {url}")


def migrate(config: ConfigOption = None) -> None:
    """Bring the database's schema to what this version needs."""
    run(main.migrate(configured(config)))
    say("The schema is up to date.")


def openapi() -> None:
    """Print the OpenAPI document; needs no config."""
    as_json(main.openapi())
