"""What the API is handed: everything that the wiring has built and a request may need."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from app.clock import Clock
from app.control import Control
from app.db.engine import AsyncEngine
from app.db.sagas import Sagas
from app.fetching import Fetching
from app.intake import Intake
from app.settings import Settings


@dataclass(frozen=True, slots=True)
class Context:
    """What a request may need.

    Args:
        fetching: for webhooks that cannot be verified without it.
        readiness: raises DatabaseUnavailable or DatabaseBehind while the service cannot do its work.
        stopping: set when the service is told to stop; requests that wait are answered then.
    """

    settings: Settings
    engine: AsyncEngine
    clock: Clock
    sagas: Sagas
    intake: Intake
    control: Control
    fetching: Fetching
    readiness: Callable[[], Awaitable[None]]
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
