"""A process that holds the embedded server until it is told to end, for the tests to start and to kill.

It says `ready` on stdout. Each line on stdin is then a statement, answered by its first value. SIGINT does not end it.
"""

import asyncio
import signal
import sys
from pathlib import Path

import asyncpg

from app.db import embedded


async def _answer(url: str, statement: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def _say(answer: object) -> None:
    sys.stdout.write(f"{answer}\n")
    sys.stdout.flush()


def main() -> None:
    signal.signal(signal.SIGINT, lambda *_: None)
    server = embedded.start(Path(sys.argv[1]), fsync=False)
    _say("ready")
    for statement in sys.stdin:
        _say(asyncio.run(_answer(server.url, statement)))
    server.close()


if __name__ == "__main__":
    main()
