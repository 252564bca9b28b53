"""The service's own tables: `[server]`, `[database]`, `[worker]`, `[retention]` and `[[api_keys]]`."""

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from app.settings.document import Table
from app.settings.model import ApiKey, Database, Retention, Scope, Server, Worker

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_KEY_NAME = re.compile(r"[^\x00-\x1f\x7f-\x9f]{1,63}")
_SCHEMES = frozenset({"postgresql", "postgres", "postgresql+asyncpg"})


def read_server(table: Table) -> Server:
    """`[server]`. Port 0 takes any free one."""
    default = Server()
    return Server(
        host=table.text("host", default.host, lambda host: None if host.strip() else "must not be empty"),
        port=table.integer("port", default.port, minimum=0, maximum=65_535),
        max_body=table.integer("max_body", default.max_body),
    )


def read_database(table: Table, environ: Mapping[str, str]) -> Database:
    """`[database]`; without a `url` the environment's DATABASE_URL counts."""
    default = Database()
    url = table.optional_text("url", _url_fault)
    if url is None and environ.get("DATABASE_URL"):
        url = environ["DATABASE_URL"]
        fault = _url_fault(url)
        if fault is not None:
            table.fault("url", f"DATABASE_URL in the environment {fault}")
    data_dir = table.text("data_dir", str(default.data_dir), lambda path: None if path else "must not be empty")
    return Database(url=url, data_dir=Path(data_dir), pool_size=table.integer("pool_size", default.pool_size))


def _url_fault(url: str) -> str | None:
    """What is wrong with a database's URL; it may hold a password, so it is not repeated."""
    sentence = 'must be a URL such as "postgresql://user@host/db"'
    try:
        return None if urlsplit(url).scheme in _SCHEMES and "://" in url else sentence
    except ValueError:
        return sentence


def read_worker(table: Table) -> Worker:
    """`[worker]`."""
    default = Worker()
    return Worker(
        concurrency=table.integer("concurrency", default.concurrency),
        lease=table.duration("lease", default.lease),
        poll_interval=table.duration("poll_interval", default.poll_interval),
    )


def read_retention(table: Table) -> Retention:
    """`[retention]`."""
    return Retention(
        finished=table.optional_duration("finished"),
        events=table.duration("events", Retention().events),
    )


def read_api_keys(tables: list[Table]) -> tuple[ApiKey, ...]:
    """`[[api_keys]]`: one key has one name, and one name one key, so that the history says who acted."""
    names: dict[str, str] = {}
    hashes: dict[str, str] = {}
    keys = []
    for table in tables:
        key = ApiKey(
            name=table.text("name", check=key_name_fault),
            scope=table.word("scope", Scope),
            sha256=table.text("sha256", check=_sha256_fault).lower(),
        )
        for seen, value, what in ((names, key.name, "name"), (hashes, key.sha256, "sha256")):
            if value and seen.setdefault(value, table.path) != table.path:
                table.fault(what, f"the same {'name' if what == 'name' else 'key'} as {seen[value]}")
        keys.append(key)
    return tuple(keys)


def key_name_fault(name: str) -> str | None:
    """What is wrong with the name of an API key."""
    return None if _KEY_NAME.fullmatch(name) else "must have from 1 to 63 characters, and no control characters"


def _sha256_fault(text: str) -> str | None:
    return None if _SHA256.fullmatch(text) else "must be the SHA-256 of the key: 64 hex digits"
