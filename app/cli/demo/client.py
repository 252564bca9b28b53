"""What the demo asks the service, over HTTP and with a key, as any client would."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self

import httpx

from app.saga.model import Json

PAGE = 200

# This machine's clock and the database's are read some moments apart.
CLOCK_MARGIN = timedelta(minutes=1)


class Client:
    """Reads the operations of this demo.

    Args:
        url: the service.
        key: an API key that may read.
        since: when the demo began, by this machine's clock.
    """

    def __init__(self, url: str, key: str, since: datetime) -> None:
        self._since = since - CLOCK_MARGIN
        self._earlier: set[str] = set()
        headers = {"Authorization": f"Bearer {key}"}
        self._client = httpx.AsyncClient(base_url=url, headers=headers, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def begin(self) -> None:
        """Looks away from what is there already: an earlier demo may have ended a moment ago."""
        self._earlier = {operation["id"] for operation in await self.operations()}

    async def operations(self) -> list[Json]:
        """All operations since the demo began."""
        query = {"created_after": self._since.isoformat(), "limit": str(PAGE)}
        found: list[Json] = []
        while True:
            page = await self._get("/operations", query)
            found += [operation for operation in page["items"] if operation["id"] not in self._earlier]
            if page["next_cursor"] is None:
                return found
            query["cursor"] = page["next_cursor"]

    async def attempts(self, operation_id: str) -> list[Json]:
        """The calls of an operation, oldest first."""
        items: list[Json] = (await self._get(f"/operations/{operation_id}/attempts"))["items"]
        return items

    async def difference(self) -> int:
        """How many payments the service itself has lost count of."""
        difference: int = (await self._get("/stats"))["conservation"]["difference"]
        return difference

    async def _get(self, path: str, query: Mapping[str, str] | None = None) -> Json:
        return (await self._client.get(path, params=query)).raise_for_status().json()
