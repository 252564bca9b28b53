"""`[agents.*]`: the services that are called."""

import re
from collections.abc import Collection
from datetime import timedelta
from types import MappingProxyType
from urllib.parse import urlsplit

from app.settings.document import Table
from app.settings.model import Agent, Breaker, OAuth

_DEFAULTS = Agent("", "")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OUR_HEADERS = frozenset(
    {"idempotency-key", "makegood-attempt", "traceparent", "content-length", "transfer-encoding", "connection"}
)


def read_agent(name: str, table: Table) -> Agent:
    """One agent."""
    zero = timedelta(0)
    breaker = table.table("breaker")
    base_url = table.text("base_url", check=_base_url_fault)
    headers = table.text_table("headers", _header_fault)
    return Agent(
        name=name,
        base_url=base_url,
        timeout=table.duration("timeout", _DEFAULTS.timeout),
        max_concurrency=table.integer("max_concurrency", _DEFAULTS.max_concurrency),
        key_lifetime=table.duration("key_lifetime", zero, minimum=zero) if table.has("key_lifetime") else None,
        in_flight=table.duration("in_flight", _DEFAULTS.in_flight, minimum=zero),
        breaker=Breaker(
            failures=breaker.integer("failures", _DEFAULTS.breaker.failures),
            open=breaker.duration("open", _DEFAULTS.breaker.open),
        ),
        headers=MappingProxyType(headers),
        oauth=_read_oauth(table, base_url, headers),
    )


def _read_oauth(table: Table, base_url: str, headers: Collection[str]) -> OAuth | None:
    if not table.has("oauth"):
        return None
    if any(name.lower() == "authorization" for name in headers):
        table.fault("oauth", "does not go with the header Authorization, which it sets itself")
    if "@" in base_url:
        table.fault("oauth", "does not go with credentials in base_url: both set the header Authorization")
    oauth = table.table("oauth")
    return OAuth(
        token_path=oauth.text("token_path", check=_token_path_fault),
        client_id=oauth.text("client_id", check=_credential_fault),
        client_secret=oauth.text("client_secret", check=_credential_fault),
    )


def _token_path_fault(path: str) -> str | None:
    fit = path.startswith("/") and path.isascii() and path.isprintable() and not set(path) & set(" #")
    return None if fit else 'must be a path such as "/v1/oauth2/token"'


def _credential_fault(text: str) -> str | None:
    return (
        None if text and text.isascii() and text.isprintable() else "must have printable ASCII characters, and no other"
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
