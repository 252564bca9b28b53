"""A worker as it is deployed, but its agents answer in this process: what is left is the engine.

    python -m bench.programs.engine --config FILE --port 8080

When it is told to end it says how often it was called.
"""

import argparse
import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

from uvicorn.loops.auto import auto_loop_factory

from app import main, wiring
from app.agents import Agents, Request
from app.agents.connection import Coming
from app.clock import Clock
from app.settings.model import Agent
from app.wiring import Role
from bench import config


class InProcess:
    """Stands for the connections to an agent: each request is answered at once, as the supplier does."""

    calls = 0

    async def exchange(self, request: Request, coming: Coming) -> None:
        """Answers."""
        del request
        InProcess.calls += 1
        coming.sent, coming.sent_at = True, asyncio.get_running_loop().time()
        coming.status = 200
        coming.body += b'{"ref":"bought-1"}'

    async def aclose(self) -> None:
        """There is nothing to close."""


class AnsweredHere(Agents):
    """The agents, with nothing behind them."""

    def __init__(self, agents: Mapping[str, Agent], clock: Clock) -> None:
        super().__init__(agents, clock)
        self._transports = dict.fromkeys(agents, InProcess())


def serve() -> None:
    """Serves until it is ended."""
    parser = argparse.ArgumentParser(prog="bench.programs.engine")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--config", type=Path, required=True)
    wanted = parser.parse_args()
    settings = config.read(wanted.config)
    settings = replace(settings, server=replace(settings.server, port=wanted.port))

    def ready(_url: str) -> None:
        print("ready", flush=True)

    with patch.object(wiring, "Agents", AnsweredHere), asyncio.Runner(loop_factory=auto_loop_factory()) as runner:
        runner.run(main.serve(settings, role=Role.WORKER, ready=ready))
    print(json.dumps({"calls": InProcess.calls}), flush=True)


if __name__ == "__main__":
    serve()
