"""`[agents.*]`: the services that are called."""

import re
from datetime import timedelta
from types import MappingProxyType
from urllib.parse import urlsplit

from app.settings.document import Table
from app.settings.model import Agent, Breaker

_DEFAULTS = Agent("", "")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OUR_HEADERS = frozenset(
    {"idempotency-key", "makegood-attempt", "traceparent", "content-length", "transfer-encoding", "connection"}
)


def read_agent(name: str, table: Table) -> Agent:
    """One agent."""
    zero = timedelta(0)
    breaker = table.table("breaker")
    return Agent(
        name=name,
        base_url=table.text("base_url", check=_base_url_fault),
        timeout=table.duration("timeout", _DEFAULTS.timeout),
        max_concurrency=table.integer("max_concurrency", _DEFAULTS.max_concurrency),
        key_lifetime=table.duration("key_lifetime", zero, minimum=zero) if table.has("key_lifetime") else None,
        in_flight=table.duration("in_flight", _DEFAULTS.in_flight, minimum=zero),
        breaker=Breaker(
            failures=breaker.integer("failures", _DEFAULTS.breaker.failures),
            open=breaker.duration("open", _DEFAULTS.breaker.open),
        ),
        headers=MappingProxyType(table.text_table("headers", _header_fault)),
    )


def _base_url_fault(url: str) -> str | None:
    """What is wrong with a base URL; it may hold credentials, so it is not repeated."""
    sentence = 'must be a URL such as "https://supplier.example"'
    try:
        parts = urlsplit(url)
        readable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return sentence
    if not readable or not url.isascii() or not url.isprintable() or " " in url:
        return sentence
    if "?" in url or "#" in url:
        return "must have neither a query (?) nor a fragment (#): the path of each call is put behind it"
    return None


def _header_fault(name: str, value: str) -> str | None:
    if _HEADER_NAME.fullmatch(name) is None:
        return "is not the name of a header"
    if name.lower() in _OUR_HEADERS:
        return "is set for each call and cannot be configured"
    if not value.isascii() or not value.isprintable():
        return "may have only printable ASCII characters"
    return None
