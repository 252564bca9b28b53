"""The framework limit: our application and our server, whose webhook route checks the signature and answers 202.

    python -m bench.programs.framework --port 8080           our application: its middleware, its error handlers, its routes
    python -m bench.programs.framework --port 8080 --plain   a FastAPI application with this route and nothing else

There is no database, and the body's JSON is not read.
"""

import argparse
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.api import Context, create_app
from app.api.protocol import BoundedProtocol
from app.clock import DatabaseClock
from app.control import Control
from app.db.engine import create
from app.db.sagas import Sagas
from app.db.store import Store
from app.db.wakeup import Wakeup
from app.intake import Intake
from app.providers import provider
from app.settings import Settings
from bench.config import read
from bench.webhooks import PATH

ANSWER = {"operation_id": "00000000-0000-5000-8000-000000000000", "status": "accepted"}
LOCATION = {"Location": f"/operations/{ANSWER['operation_id']}"}
NOWHERE = "postgresql://127.0.0.1:1/none"  # never connected to: all that stands on it connects when it is first used


def route(settings: Settings) -> Callable[[Request], Awaitable[Response]]:
    """The route that all limits share."""
    source = settings.sources["shop"]
    teller, clock = provider(source.provider), DatabaseClock()

    async def receive(request: Request) -> Response:
        body = await request.body()
        teller.verify(source, dict(request.headers), body, clock.wall())
        return JSONResponse(ANSWER, 202, LOCATION)

    return receive


def ours(settings: Settings) -> FastAPI:
    """Our application with that route in front of its own."""
    engine, store, clock, wakeup = (
        create(NOWHERE, 1),
        Store(NOWHERE, 1, DatabaseClock()),
        DatabaseClock(),
        Wakeup(NOWHERE),
    )
    sagas = Sagas(engine, settings.limits())

    async def ready() -> None:
        """Nothing is needed."""

    application = create_app(
        Context(
            settings=settings,
            engine=engine,
            clock=clock,
            sagas=sagas,
            intake=Intake(engine, store, sagas, settings.sagas, clock, wakeup),
            control=Control(engine, store, sagas, clock, wakeup),
            readiness=ready,
        )
    )
    application.router.routes.insert(0, Route(PATH, route(settings), methods=["POST"]))
    return application


def plain(settings: Settings) -> FastAPI:
    """An application as the framework's own tutorial makes one."""
    application = FastAPI()
    receive = route(settings)

    @application.post(PATH)
    async def webhook(request: Request) -> Response:
        return await receive(request)

    return application


class Server(uvicorn.Server):
    """uvicorn, which says when it listens."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts, and says so."""
        await super().startup(sockets)
        print("ready", flush=True)


def main() -> None:
    """Serves until it is ended."""
    parser = argparse.ArgumentParser(prog="bench.programs.framework")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--plain", action="store_true")
    wanted = parser.parse_args()
    settings = read(wanted.config)
    config = uvicorn.Config(
        plain(settings) if wanted.plain else ours(settings),
        port=wanted.port,
        http=BoundedProtocol,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
    )
    Server(config).run()


if __name__ == "__main__":
    main()
