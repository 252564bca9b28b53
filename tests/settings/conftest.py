"""Configurations to load, written as a user writes them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from app import providers
from app.errors import ConfigurationError
from app.settings import Settings, load

Load = Callable[..., Settings]
Faults = Callable[..., list[str]]

# A valid one that leaves out all it can.
SMALL = """
[sources.shop]
provider = "standard-webhooks"
secrets = ["whsec_c2VjcmV0"]
saga = "purchase"

[agents.psp]
base_url = "https://psp.example"

[agents.supplier]
base_url = "https://supplier.example"

[sagas.purchase]
[[sagas.purchase.steps]]
name = "payment"
undo = { agent = "psp", method = "POST", path = "/refunds" }
[[sagas.purchase.steps]]
name = "purchase"
do = { agent = "supplier", method = "POST", path = "/purchases" }
undo = { agent = "supplier", method = "POST", path = "/purchases/{operation_id}/cancel" }
"""


@pytest.fixture
def load_text(tmp_path: Path) -> Load:
    """Loads a text; keyword arguments are the environment."""

    def load_it(text: str, **environ: str) -> Settings:
        path = tmp_path / "makegood.toml"
        path.write_text(text, encoding="utf-8")
        return load(path, environ, providers.known())

    return load_it


@pytest.fixture
def small(load_text: Load) -> Load:
    """Loads the small configuration with one piece of it replaced (an empty piece: with more behind it)."""

    def load_it(old: str = "", new: str = "", **environ: str) -> Settings:
        assert old in SMALL
        return load_text(SMALL.replace(old, new, 1) if old else SMALL + new, **environ)

    return load_it


@pytest.fixture
def faults(small: Load) -> Faults:
    """The faults of the small configuration with one piece of it replaced."""

    def faults_of(old: str = "", new: str = "", **environ: str) -> list[str]:
        with pytest.raises(ConfigurationError) as caught:
            small(old, new, **environ)
        assert all("\n" not in fault for fault in caught.value.faults)
        return list(caught.value.faults)

    return faults_of
