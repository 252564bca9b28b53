"""The config file as the commands meet it."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import typer

from app import providers, settings
from app.agents import local
from app.cli.output import data, say
from app.saga.definition import LocalCall
from app.settings import Settings

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="The config file; else MAKEGOOD_CONFIG, else ./makegood.toml.", show_default=False
    ),
]


def configured(config: Path | None, environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings of the file that the option or the environment names. Raises ConfigurationError."""
    return settings.load(settings.find(config, environ), environ, providers.known())


def check(config: ConfigOption = None) -> None:
    """Check the config file: its faults, or its warnings and ok."""
    loaded = configured(config)
    for warning in [*settings.warnings(loaded), *_missing_functions(loaded)]:
        say(f"warning: {warning}")
    data("ok")


def _missing_functions(loaded: Settings) -> Iterator[str]:
    """Steps in Python that cannot be found here; a process that makes no calls does without them."""
    for saga in loaded.sagas.values():
        for place, step in enumerate(saga.steps):
            for key, call in (("do", step.do), ("undo", step.undo)):
                fault = local.check(call.local) if isinstance(call, LocalCall) else None
                if fault is not None:
                    yield f"sagas.{saga.name}.steps[{place}].{key}.local: {fault}"
