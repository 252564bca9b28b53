"""The running service, as the operator's commands and the demo reach it over HTTP."""

import contextlib
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self

import httpx

from app.cli.status import ExitStatus, Refused, of_answer
from app.saga.model import Json

# Longer than the longest `Prefer: wait` that the service grants.
TIMEOUT_SECONDS = 60

Query = Sequence[tuple[str, str]]


class Remote:
    """One service with one API key.

    Args:
        url: the base URL.
        key: the API key.
        transport: None speaks to the network.
    """

    def __init__(self, url: str, key: str, transport: httpx.BaseTransport | None = None) -> None:
        self._url = url
        headers = {"Authorization": f"Bearer {key}", "Accept": "application/json"}
        with _named(url):
            self._client = httpx.Client(
                base_url=url, headers=headers, timeout=TIMEOUT_SECONDS, transport=transport, trust_env=False
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def get(self, path: str, query: Query = (), *, wait: int | None = None) -> Json:
        """What the service answers to a GET.

        Args:
            wait: seconds that the service may wait until the operation is final or held.

        Raises:
            Refused: it answered with a problem, or not at all.
        """
        headers = {} if wait is None else {"Prefer": f"wait={wait}"}
        with _named(self._url):
            return _read(self._client.get(path, params=list(query), headers=headers))

    def pages(self, path: str, query: Query) -> Iterator[Json]:
        """The items of all pages of a list. Raises Refused."""
        cursor: str | None = None
        while True:
            page = self.get(path, [*query, ("cursor", cursor)] if cursor else query)
            yield from page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def post(self, path: str, body: Mapping[str, Json], query: Query = (), *, revision: int | None = None) -> Json:
        """What the service answers to an operator's POST; a resend of it on the way has no second effect.

        Args:
            revision: the one it was decided on; a later one is refused.

        Raises:
            Refused: it answered with a problem, or not at all.
        """
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        if revision is not None:
            headers["If-Match"] = f'"{revision}"'
        with _named(self._url):
            return _read(self._client.post(path, params=list(query), json=dict(body), headers=headers))


@contextlib.contextmanager
def _named(url: str) -> Iterator[None]:
    """Says which service it was that could not be reached."""
    try:
        yield
    except httpx.InvalidURL as error:
        raise Refused(f"{url} is not a URL: {error}", ExitStatus.USAGE) from error
    except httpx.UnsupportedProtocol as error:
        raise Refused(f"{url} is not a URL: it begins with neither http:// nor https://", ExitStatus.USAGE) from error
    except httpx.TransportError as error:
        raise Refused(f"{url} does not answer: {error}", ExitStatus.UNAVAILABLE) from error


def _read(answer: httpx.Response) -> Json:
    try:
        body = answer.json()
    except (json.JSONDecodeError, UnicodeDecodeError):
        body = None
    if answer.is_success and body is not None:
        return body
    raise Refused(_problem(answer.status_code, body), of_answer(answer.status_code) or ExitStatus.FAILURE)


def _problem(status: int, body: Json) -> str:
    if not isinstance(body, dict):
        return f"the service answered {status} without a word of JSON: is this the URL of Makegood?"
    told = body.get("detail") or body.get("title") or ""
    faults = [f"{fault.get('pointer')}: {fault.get('detail')}" for fault in body.get("errors") or ()]
    return "\n".join([f"{body.get('code', status)}: {told}", *faults])
