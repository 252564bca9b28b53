"""The demo's table: what becomes of each payment, live where there is a terminal, once at the end where there is none."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence

from rich.console import Console
from rich.live import Live
from rich.table import Table

from app.cli.demo.samples import Told
from app.cli.output import as_columns, printable
from app.cli.show import money
from app.saga.model import SETTLED, Json, Status

HEADINGS = ("order", "amount", "what happens", "webhooks", "status", "steps", "calls")

# Slow enough to read, quick enough to see an operation wait for its next attempt.
REFRESH_SECONDS = 0.2

STYLES = {Status.SUCCEEDED: "green", Status.REFUNDED: "yellow", Status.HELD: "red"}

Look = Callable[[], Awaitable[Mapping[str, Json]]]


async def watch(told: Sequence[Told], look: Look, telling: asyncio.Future[None], console: Console) -> None:
    """Returns when all payments are told of and settled. The caller bounds the wait.

    Args:
        told: fills while `telling` runs.
        look: gives the operations by the ids of their payments.
    """
    live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
    with live or contextlib.nullcontext():
        while True:
            operations = await look()
            if live is not None:
                live.update(_table(told, operations), refresh=True)
            if _settled(told, operations, telling):
                return
            await asyncio.sleep(REFRESH_SECONDS)


def show(told: Sequence[Told], operations: Mapping[str, Json], calls: Mapping[str, int], console: Console) -> None:
    """Prints the table as it is at the end.

    Args:
        calls: how many calls went out, by the payments' ids.
    """
    if console.is_terminal:
        console.print(_table(told, operations, calls))
    else:
        as_columns(HEADINGS, [_row(one, operations.get(one.payment.id), calls) for one in told])


def _settled(told: Sequence[Told], operations: Mapping[str, Json], telling: asyncio.Future[None]) -> bool:
    """Whether nothing more will happen. Raises what telling raised."""
    if not telling.done():
        return False
    telling.result()
    mine = [operations.get(one.payment.id) for one in told if not one.sample.forged]
    return all(operation is not None and operation["status"] in SETTLED for operation in mine)


def _table(told: Sequence[Told], operations: Mapping[str, Json], calls: Mapping[str, int] | None = None) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in HEADINGS:
        table.add_column(heading, overflow="fold")
    for one in told:
        operation = operations.get(one.payment.id)
        table.add_row(*_row(one, operation, calls or {}), style=STYLES.get(operation["status"]) if operation else None)
    return table


def _row(told: Told, operation: Json | None, calls: Mapping[str, int]) -> tuple[str, ...]:
    sample = told.sample
    shown = (sample.order_id, money(sample.amount, sample.currency), sample.about, " ".join(map(str, told.answers)))
    if operation is None:
        return (*shown, "refused: nothing is stored" if sample.forged and told.answers else "", "", "")
    reason = operation["held_reason"] or operation["reason"]
    status = f"{operation['status']} ({reason})" if reason else operation["status"]
    steps = ", ".join(f"{step['name']} {step['status']}" for step in operation["steps"])
    number = calls.get(told.payment.id)
    return (*shown, printable(status), steps, "" if number is None else str(number))
