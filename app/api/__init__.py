"""In and out: webhooks, operations, operators' calls, events, health. `create_app` puts them together."""

from collections.abc import Collection, Mapping
from importlib.metadata import version
from typing import Any
from uuid import UUID

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api import events, health, openapi, operations, operators, pages, stats, webhooks
from app.api.admission import Room
from app.api.context import Context
from app.api.edge import Edge
from app.api.keys import Keys
from app.api.problems import answer_to
from app.api.waiting import Seen, Waiting
from app.db import reads
from app.errors import MakegoodError

__all__ = ["Api", "Context", "create_app", "create_worker_app", "document"]


class Api(FastAPI):
    """The application, whose document says also what the framework cannot know."""

    # Takes deliveries, before the framework does; None in an application that has none to take.
    deliveries: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if self.deliveries is not None and scope["type"] == "http" and webhooks.takes(scope):
            await self.deliveries(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def take_deliveries(self, context: Context) -> None:
        """Serves with what the context has, deliveries too."""
        self.state.context = context
        self.deliveries = Edge(webhooks.Webhooks(context, Room()))

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document; made once."""
        if self.openapi_schema is None:
            self.openapi_schema = openapi.complete(super().openapi())
        return self.openapi_schema


def create_app(context: Context) -> Api:
    """The whole API."""
    app = _with_routes()
    app.take_deliveries(context)
    app.state.keys = Keys(context.settings.api_keys)

    async def revisions(ids: Collection[UUID]) -> Mapping[UUID, Seen]:
        return await reads.revisions(context.engine, ids)

    app.state.waiting = Waiting(revisions, context.stopping)
    return app


def create_worker_app(context: Context) -> Api:
    """What a worker serves: its probes alone."""
    app = _bare()
    app.include_router(health.router)
    app.state.context = context
    return app


def document() -> dict[str, Any]:
    """The OpenAPI document; needs neither configuration nor database."""
    return _with_routes().openapi()


def _with_routes() -> Api:
    app = _bare()
    app.router.routes.append(Route(webhooks.PATH, webhooks.NoDelivery()))
    # The calls for many stand before the paths that take an id: the first that fits is taken.
    for part in (operators, operations, events, stats, health, pages):
        app.include_router(part.router)
    return app


def _bare() -> Api:
    app = Api(
        title="Makegood",
        version=version("makegood"),
        summary=openapi.SUMMARY,
        description=openapi.DESCRIPTION,
        openapi_tags=openapi.TAGS,
        openapi_url=None,
        # A redirect is not followed by a provider, and a path with a slash too many is simply not there.
        redirect_slashes=False,
    )
    app.add_middleware(Edge)
    for kind in (MakegoodError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, answer_to)
    return app
