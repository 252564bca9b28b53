"""From the file to the settings: where it is found, how it is read, and the order in which its tables are."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from app.errors import ConfigurationError
from app.settings.agents import read_agent
from app.settings.document import Document
from app.settings.model import Settings, limits_of
from app.settings.names import name_of_part
from app.settings.sagas import read_saga
from app.settings.service import read_api_keys, read_database, read_retention, read_server, read_worker
from app.settings.sources import Scheme, read_source

DEFAULT_PATH = Path("makegood.toml")


def find(option: Path | None, environ: Mapping[str, str]) -> Path:
    """The path of the configuration: the option's, else MAKEGOOD_CONFIG's, else `./makegood.toml`."""
    named = environ.get("MAKEGOOD_CONFIG")
    return option or (Path(named) if named else DEFAULT_PATH)


def load(path: Path, environ: Mapping[str, str], schemes: Mapping[str, Scheme]) -> Settings:
    """Reads the configuration.

    Args:
        environ: what `${NAME}` is replaced from, and where DATABASE_URL is looked for.
        schemes: the providers there are, by name.

    Raises:
        ConfigurationError: with all the faults at once.
    """
    document = Document(_read_toml(path), environ)
    root = document.root
    tables = {key: root.table(key) for key in ("server", "database", "worker", "retention")}
    api_keys = read_api_keys(root.tables("api_keys"))
    source_tables = root.table("sources").members(name_of_part)
    agent_tables = root.table("agents").members(name_of_part)
    saga_tables = root.table("sagas").members(name_of_part)
    sources = {
        name: read_source(name, table, schemes, saga_tables, agent_tables) for name, table in source_tables.items()
    }
    agents = {name: read_agent(name, table) for name, table in agent_tables.items()}
    protocols = {name: scheme.refunds for name, scheme in schemes.items() if scheme.refunds is not None}
    key_lifetimes = {name: protocol.key_lifetime for name, protocol in protocols.items()}
    limits = limits_of(agents, key_lifetimes)
    settings = Settings(
        server=read_server(tables["server"]),
        database=read_database(tables["database"], environ),
        worker=read_worker(tables["worker"]),
        retention=read_retention(tables["retention"]),
        api_keys=api_keys,
        sources=MappingProxyType(sources),
        agents=MappingProxyType(agents),
        sagas=MappingProxyType(
            {name: read_saga(name, table, limits, agents, key_lifetimes) for name, table in saga_tables.items()}
        ),
        key_lifetimes=MappingProxyType(key_lifetimes),
    )
    document.close()
    return settings


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        # Some editors begin a file with a byte order mark, which TOML itself does not have.
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as wrong:
        raise ConfigurationError([f"{path}: cannot be read: {wrong.strerror}"]) from wrong
    except UnicodeDecodeError as wrong:
        raise ConfigurationError([f"{path}: is not UTF-8 at byte {wrong.start + 1}"]) from wrong
    except tomllib.TOMLDecodeError as wrong:
        raise ConfigurationError([f"{path}: is not TOML: {wrong}"]) from wrong
    except RecursionError as wrong:
        raise ConfigurationError([f"{path}: is nested too deeply"]) from wrong
    except ValueError as wrong:  # an integer of thousands of digits
        raise ConfigurationError([f"{path}: has a number that is out of range"]) from wrong
