"""The config file as the commands meet it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from app import providers, settings
from app.cli.output import data, say
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
    for warning in settings.warnings(loaded):
        say(f"warning: {warning}")
    data("ok")
