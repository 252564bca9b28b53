"""Agents at one URL, a call to them, and what it must have ended as."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from app.agents import Agents, Exchange
from app.saga.model import Action, Outcome
from app.saga.signals import StepUnavailable, StepUnknown
from tests.agents.support import (
    BUY,
    agents_with,
    answer,
    document_of,
    sending_of,
)

BOUGHT = answer(200, b'{"ref":"R-1"}')


@contextlib.asynccontextmanager
async def agents_of(url: str, **settings: Any) -> AsyncIterator[Agents]:
    agents = agents_with(url, **settings)
    try:
        yield agents
    finally:
        await agents.aclose()


async def call(agents: Agents, *, method: str = "POST", timeout: float = 5.0, action: Action = Action.DO) -> Exchange:
    sending = sending_of(replace(BUY, method=method), action, timeout=timeout)
    return await agents.call(agents.render(sending, document_of(sending), None), sending)


async def never_reads(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Holds a connection and does not even read from it."""
    del reader
    writer.transport.pause_reading()  # type: ignore[attr-defined]  # every transport of a socket has it
    await asyncio.Event().wait()


async def call_once(url: str, **options: Any) -> Exchange:
    async with agents_of(url) as agents:
        return await call(agents, **options)


def unknown(exchange: Exchange) -> str:
    """The detail of an exchange that must have ended as unknown."""
    assert isinstance(exchange.answer, StepUnknown)
    assert exchange.outcome is Outcome.UNKNOWN
    assert exchange.answer.error.kind is Outcome.UNKNOWN
    return exchange.answer.error.detail


def not_sent(exchange: Exchange) -> str:
    """The detail of an exchange that must have ended before anything was sent."""
    assert isinstance(exchange.answer, StepUnavailable)
    assert not exchange.answer.arrived
    assert exchange.outcome is Outcome.UNAVAILABLE
    assert exchange.response is None
    return exchange.answer.error.detail
