"""`makegood.toml`, typed and frozen: what everything else is told about where and how to work."""

from app.settings.advice import warnings
from app.settings.load import find, load
from app.settings.model import (
    Agent,
    AmountUnit,
    ApiKey,
    Breaker,
    Database,
    Fields,
    Mode,
    OAuth,
    Options,
    Reconcile,
    Retention,
    Scope,
    Server,
    Settings,
    Source,
    Worker,
)
from app.settings.sources import Scheme

__all__ = [
    "Agent",
    "AmountUnit",
    "ApiKey",
    "Breaker",
    "Database",
    "Fields",
    "Mode",
    "OAuth",
    "Options",
    "Reconcile",
    "Retention",
    "Scheme",
    "Scope",
    "Server",
    "Settings",
    "Source",
    "Worker",
    "find",
    "load",
    "warnings",
]
