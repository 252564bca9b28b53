"""The framework limit: what answers 202 once the signature is right, with no database behind it.

    python -m bench.programs.framework --port 8080 --config FILE --kind plain

    plain        a FastAPI application with one route, as the framework's own tutorial makes one
    application  our application, and the framework leads the webhook to that route through our middleware
    deliveries   our application as it is, but its intake stores nothing: what we do before and after the database
    asgi         the server and the signature, with neither framework nor application

All stand behind the service's own server. None but `deliveries` reads the body's JSON.
"""

import argparse
import json
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from uuid import UUID

import uvicorn
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from app.agents import Agents
from app.agents.pages import Pages
from app.api import Api, Context, create_app
from app.api.protocol import BoundedProtocol
from app.clock import DatabaseClock
from app.control import Control
from app.db.engine import create
from app.db.sagas import Sagas
from app.db.store import Store
from app.db.tables import EventStatus
from app.db.wakeup import Wakeup
from app.fetching import Fetching
from app.intake import Intake, Receipt
from app.providers import provider
from app.providers.reading import Reading
from app.settings import Settings, Source
from bench.config import read
from bench.webhooks import PATH

ANSWER = {"operation_id": "00000000-0000-5000-8000-000000000000", "status": "accepted"}
LOCATION = f"/operations/{ANSWER['operation_id']}"
NOWHERE = "postgresql://127.0.0.1:1/none"  # never connected to: all that stands on it connects when it is first used


class Verify:
    """Checks a webhook's signature as the service does, and raises where it is wrong."""

    def __init__(self, settings: Settings) -> None:
        self._source = settings.sources["shop"]
        self._provider = provider(self._source.provider)
        self._clock = DatabaseClock()

    def __call__(self, headers: Mapping[str, str], body: bytes) -> None:
        """Raises SignatureInvalid."""
        self._provider.verify(self._source, headers, body, self._clock.wall())


def route(settings: Settings) -> Callable[[Request], Awaitable[Response]]:
    """A route of the framework."""
    verify = Verify(settings)

    async def receive(request: Request) -> Response:
        body = await request.body()
        verify(request.headers, body)
        return JSONResponse(ANSWER, 202, {"Location": LOCATION})

    return receive


def plain(settings: Settings) -> ASGIApp:
    """The framework, as its own tutorial has it."""
    application, receive = FastAPI(), route(settings)

    @application.post(PATH)
    async def webhook(request: Request) -> Response:
        return await receive(request)

    return application


def framework(settings: Settings) -> ASGIApp:
    """Our application, with that route in front of its own."""
    application = ours(settings)
    application.deliveries = None
    application.router.routes.insert(0, Route(PATH, route(settings), methods=["POST"]))
    return application


class Forgetful(Intake):
    """Says of every payment that it is stored."""

    async def receive_all(
        self, source: Source, messages: Sequence[tuple[Reading, bytes]], traceparent: str | None = None
    ) -> list[Receipt]:
        """Stores nothing."""
        del source, traceparent
        return [Receipt(EventStatus.ACCEPTED, UUID(int=1), UUID(int=1)) for _ in messages]


def ours(settings: Settings) -> Api:
    """Our application, which forgets what it is told."""
    clock, wakeup, engine = DatabaseClock(), Wakeup(NOWHERE), create(NOWHERE, 1)
    store, sagas = Store(NOWHERE, 1, clock), Sagas(engine, settings.limits())

    async def ready() -> None:
        """Nothing is needed."""

    return create_app(
        Context(
            settings=settings,
            engine=engine,
            clock=clock,
            sagas=sagas,
            intake=Forgetful(engine, store, sagas, settings.sagas, clock, wakeup),
            control=Control(engine, store, sagas, clock, wakeup),
            fetching=Fetching(Agents(settings.agents, clock), Pages(), clock),
            readiness=ready,
        )
    )


def asgi(settings: Settings) -> ASGIApp:
    """The signature alone."""
    verify = Verify(settings)
    said = json.dumps(ANSWER, separators=(",", ":")).encode()
    head = {
        "type": "http.response.start",
        "status": 202,
        "headers": [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(said)),
            (b"location", LOCATION.encode()),
        ],
    }

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        verify({name.decode(): value.decode("latin-1") for name, value in scope["headers"]}, body)
        await send(head)
        await send({"type": "http.response.body", "body": said})

    return application


KINDS: dict[str, Callable[[Settings], ASGIApp]] = {
    "plain": plain,
    "application": framework,
    "deliveries": ours,
    "asgi": asgi,
}


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
    parser.add_argument("--kind", choices=KINDS, required=True)
    wanted = parser.parse_args()
    settings = read(wanted.config)
    config = uvicorn.Config(
        KINDS[wanted.kind](settings),
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
