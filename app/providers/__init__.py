"""One file a payment provider: whatever module of this folder has a `PROVIDER` is one. Reading is in `reading`."""

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from app.providers.protocol import Address, Delivery, Provider, Signed, Verified

__all__ = ["Address", "Delivery", "Provider", "Signed", "Verified", "known", "names", "provider"]


@cache
def known() -> Mapping[str, Provider]:
    """Every provider there is, by its name."""
    modules = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    found: list[Provider] = [module.PROVIDER for module in modules if hasattr(module, "PROVIDER")]
    return MappingProxyType({provider.name: provider for provider in found})


def names() -> list[str]:
    """The names of all providers, sorted."""
    return sorted(known())


def provider(name: str) -> Provider:
    """The provider of that name. Raises KeyError where there is none."""
    return known()[name]
