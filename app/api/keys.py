"""API keys: who is calling, and whether that key may."""

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated

from fastapi import Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import Request

from app.errors import ScopeTooSmall, Unauthenticated
from app.settings import ApiKey, Scope

_bearer = HTTPBearer(
    scheme_name="api_key",
    description="An API key of the configuration. Scope `operate` includes `read`.",
    auto_error=False,
)
Credentials = Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]


class Keys:
    """The API keys of the configuration, by their hashes."""

    def __init__(self, api_keys: Sequence[ApiKey]) -> None:
        self._keys = tuple((bytes.fromhex(key.sha256), key) for key in api_keys)

    def holder(self, key: str | None) -> ApiKey:
        """The configured key that was presented.

        Every one is compared, each in constant time, so that the time taken tells nothing of which one was nearly met.

        Raises:
            Unauthenticated: there is none, or an unknown one.
        """
        if key is None:
            raise Unauthenticated("this call needs `Authorization: Bearer <key>`")
        presented = hashlib.sha256(key.encode("latin-1", "replace")).digest()
        found = [known for hashed, known in self._keys if hmac.compare_digest(hashed, presented)]
        if not found:
            raise Unauthenticated("this API key is not known")
        return found[0]


def needs(scope: Scope) -> Callable[[Request, HTTPAuthorizationCredentials | None], Awaitable[ApiKey]]:
    """A dependency that lets a call through only with a key of this scope, and hands over the key.

    Raises, when it is called:
        Unauthenticated: no key, or an unknown one.
        ScopeTooSmall: a key that may only read.
    """

    async def key_with_scope(request: Request, credentials: Credentials) -> ApiKey:
        keys: Keys = request.app.state.keys
        key = keys.holder(credentials.credentials if credentials else None)
        if scope is Scope.OPERATE and key.scope is not Scope.OPERATE:
            raise ScopeTooSmall(f'the key "{key.name}" may read; this call needs scope "operate"')
        return key

    return key_with_scope


Reader = Annotated[ApiKey, Security(needs(Scope.READ))]
Operator = Annotated[ApiKey, Security(needs(Scope.OPERATE))]
