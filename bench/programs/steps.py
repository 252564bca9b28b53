"""The purchase as a step in Python, for the engine's local half: it writes nothing, so the transaction is all there is."""

from typing import Any


async def purchase(call: dict[str, Any], connection: object) -> dict[str, str]:
    """Buys at once."""
    del call, connection
    return {"ref": "bought-1"}
