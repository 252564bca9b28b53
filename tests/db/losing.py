"""A writer that loses the answers to its commits: what is on disk then, and nobody has heard."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg

from app.db.writer import Writer
from app.errors import DatabaseUnavailable

Result = TypeVar("Result")


class Losing(Writer):
    """Breaks its connection right after a commit.

    Args:
        losing: of how many commits the answer is lost; shared by all writers.
    """

    losing = 0

    async def _once(self, work: Callable[[asyncpg.Connection, bool], Awaitable[Result]], *, resent: bool) -> Result:
        result = await super()._once(work, resent=resent)
        if Losing.losing:
            Losing.losing -= 1
            await self._drop()
            raise DatabaseUnavailable("the connection broke")
        return result
