"""Samples of a provider's events, changed and signed, and what is read from them."""

import json
from dataclasses import replace
from typing import Any

from app.providers.reading import Reading
from tests.providers.stages import Stage, hear, signed


def told(stage: Stage, event: Any, **headers: str) -> Reading:
    """What a source makes of an event that is signed as it should be, with other hints in the headers."""
    sent = signed(stage.source, json.dumps(event).encode())
    others = {name.replace("_", "-"): value for name, value in headers.items()}
    [reading] = hear(stage.source, replace(sent, headers={**sent.headers, **others}))
    return reading


def sample(stage: Stage) -> Any:
    return json.loads(stage.sample)
