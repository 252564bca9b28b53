"""Access tokens by the client's own credentials (OAuth 2.0, RFC 6749, 4.4), for agents that want one with each call.

A token is fetched when a call needs one, by one of the calls that wait for it, and kept until shortly before it ends. It
is neither logged nor put on record, and neither are the credentials.
"""

import asyncio
import base64
from dataclasses import replace
from datetime import timedelta
from http import HTTPStatus
from typing import TypeGuard
from urllib.parse import quote_plus

from app.agents.answer import Reply
from app.agents.connection import Coming
from app.agents.http import NotSent, Transport, attempt
from app.agents.request import Endpoint, Request, request_of
from app.clock import Clock
from app.providers.refunds import Question
from app.settings import OAuth

# How long before its end a token is given up: a call that goes out with it must arrive in time. Of a short one, half.
MARGIN = 60.0
# What a token is good for that does not say it: the next call after this fetches another.
UNSAID = 300.0

# And what no token is good for longer, whatever it says.
LONGEST = 30 * 86_400.0

# What the answer may call the fault (RFC 6749, 5.2); another text is the agent's own and not repeated.
_ERRORS = frozenset(
    {
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
    }
)


class Authorized:
    """A transport that sends each request with an access token.

    Args:
        transport: what carries the requests, and fetches the tokens.
        timeout: of one attempt to fetch a token.
    """

    def __init__(
        self, transport: Transport, endpoint: Endpoint, oauth: OAuth, timeout: timedelta, clock: Clock
    ) -> None:
        self._transport = transport
        self._endpoint = endpoint
        self._asking = _request(endpoint, oauth)
        self._timeout = timeout
        self._clock = clock
        self._token: str | None = None
        self._good_until = 0.0  # by the monotonic clock
        self._fetching: asyncio.Task[str | NotSent] | None = None

    async def exchange(self, request: Request, coming: Coming) -> None:
        """Sends a request and reads its answer into `coming`.

        What is answered 401 has done nothing: it is sent once more, with a token that was fetched anew.

        Raises:
            NotSent: there is no token to send it with.
        """
        token = await self._with_token(request, coming)
        if coming.status == HTTPStatus.UNAUTHORIZED:
            if self._token == token:  # else another call has fetched a newer one
                self._token = None
            coming.clear()
            await self._with_token(request, coming)

    async def aclose(self) -> None:
        """Closes the transport."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait({self._fetching})
        await self._transport.aclose()

    async def _with_token(self, request: Request, coming: Coming) -> str:
        coming.sent = False
        token = await self._current()
        coming.sent = True
        headers = {**request.headers, "Authorization": f"Bearer {token}"}
        await self._transport.exchange(replace(request, headers=headers), coming)
        return token

    async def _current(self) -> str:
        """A token that is still good. Many that wait have it fetched once. Raises NotSent."""
        if self._token is not None and self._clock.monotonic() < self._good_until:
            return self._token
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch(), name="oauth")
            self._fetching.add_done_callback(self._fetched)
        # One that is cancelled, or out of time, does not take the others' token with it.
        token = await asyncio.shield(self._fetching)
        if isinstance(token, NotSent):
            raise NotSent(str(token))
        return token

    def _fetched(self, _: object) -> None:
        self._fetching = None

    async def _fetch(self) -> str | NotSent:
        asked = self._clock.monotonic()
        came = await attempt(self._transport, self._asking, self._timeout.total_seconds())
        if not isinstance(came, Reply):
            return NotSent(f"no access token: {came.detail}")
        said = came.json if isinstance(came.json, dict) else {}
        if not came.succeeded:
            error = said.get("error")
            return NotSent(
                f"no access token: {came.status}{f' {error}' if isinstance(error, str) and error in _ERRORS else ''}"
            )
        token, kind = said.get("access_token"), said.get("token_type", "bearer")
        if not isinstance(kind, str) or kind.lower() != "bearer" or not _is_token(token):
            return NotSent("no access token: the answer holds none that can be borne")
        self._endpoint.redactor.learn(token)
        self._token, self._good_until = token, asked + _lifetime(said.get("expires_in"))
        return token


def _request(endpoint: Endpoint, oauth: OAuth) -> Request:
    """The request for a token: a form, with the credentials by HTTP Basic, each of them form-encoded (RFC 6749, 2.3.1)."""
    credentials = f"{quote_plus(oauth.client_id)}:{quote_plus(oauth.client_secret)}"
    headers = {
        "Authorization": f"Basic {base64.b64encode(credentials.encode()).decode()}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    return request_of(endpoint, Question("POST", oauth.token_path, headers, b"grant_type=client_credentials"))


def _is_token(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and value != "" and value.isascii() and value.isprintable() and " " not in value


def _lifetime(expires_in: object) -> float:
    """Seconds from when it was asked for; some agents write the number as text."""
    if isinstance(expires_in, str) and expires_in.isascii() and expires_in.isdigit():
        expires_in = float(expires_in)
    if isinstance(expires_in, bool) or not isinstance(expires_in, int | float):
        return UNSAID
    lasts = min(expires_in, LONGEST)
    return max(lasts - MARGIN, lasts / 2)
