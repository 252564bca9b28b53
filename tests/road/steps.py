"""Steps in Python, as an owner of a shop would write them; a test says what goes wrong at the first run for an order."""

from collections.abc import Awaitable, Callable
from typing import Any

TABLE = """
CREATE TABLE effects (
    order_id text NOT NULL, step text NOT NULL, operation_id text NOT NULL,
    begun timestamptz NOT NULL DEFAULT clock_timestamp(), ended timestamptz
);
CREATE TABLE once (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED);
INSERT INTO once VALUES (1);
"""
EFFECT = "INSERT INTO effects (order_id, step, operation_id) VALUES ($1, $2, $3)"
ENDED = "UPDATE effects SET ended = clock_timestamp() WHERE operation_id = $1 AND step = $2"

Trouble = Callable[[Any], Awaitable[None]]

# By the order: what the first run for it meets after it has written its effect. In the test's own process alone.
first_run: dict[str, Trouble] = {}


async def reserve(call: dict[str, Any], connection: Any) -> dict[str, Any]:
    """Reserves."""
    return await _write(call, connection, "reserve")


async def pack(call: dict[str, Any], connection: Any) -> dict[str, Any]:
    """Packs what was reserved."""
    return await _write(call, connection, "pack")


async def release(call: dict[str, Any], connection: Any) -> dict[str, Any]:
    """Gives back what was reserved; needs to know what that was."""
    reserved = call["results"]["reserve"]["ref"]
    return await _write(call, connection, f"release {reserved}")


async def _write(call: dict[str, Any], connection: Any, step: str) -> dict[str, Any]:
    await connection.execute("LOCK TABLE effects IN ROW EXCLUSIVE MODE")  # where a test may keep it waiting
    await connection.execute(EFFECT, call["order_id"], step, call["operation_id"])
    trouble = first_run.pop(call["order_id"], None)
    if trouble is not None:
        await trouble(connection)
    await connection.execute(ENDED, call["operation_id"], step)
    return {"ref": f"R-{call['order_id']}"}
