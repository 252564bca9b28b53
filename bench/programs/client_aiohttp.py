"""The outgoing client aiohttp, called as `bench.programs.client` is. Apart from it, as only the bench's own lock has aiohttp."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import uvloop

from bench.programs.client import BODY, PATH, TIMEOUT, Call, headers, main


@asynccontextmanager
async def with_aiohttp(port: int, concurrency: int) -> AsyncIterator[Call]:
    """The client aiohttp, as one uses it."""
    connector = aiohttp.TCPConnector(limit=concurrency)
    timeout = aiohttp.ClientTimeout(total=TIMEOUT)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", connector=connector, timeout=timeout) as client:

        async def call(key: str) -> int:
            async with client.post(PATH, data=BODY, headers=headers(key)) as answer:
                return int(answer.status) if await answer.read() else 0

        yield call


if __name__ == "__main__":
    uvloop.run(main({"aiohttp": with_aiohttp}))
