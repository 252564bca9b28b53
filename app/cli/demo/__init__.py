"""`makegood demo`: the whole road on this machine, with a payment provider and a supplier at its ends."""

import asyncio
import logging
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from app import main
from app.cli.demo import audit, paste, table
from app.cli.demo.client import Client
from app.cli.demo.samples import tell_all
from app.cli.demo.stage import Stage, set_up
from app.cli.output import as_columns, data, say
from app.cli.service import HIGHEST_PORT, announce, run
from app.cli.status import ExitStatus
from app.saga.model import Json
from app.wiring import Role

# The slowest sample takes some 8 s on a quick machine: its attempts, then `in_flight`, then the refund.
SETTLE_SECONDS = 90

# The sample whose calls are shown one by one: three steps, of which the last is refused.
SHOWN = "trip-2-hotel-refused"


def demo(
    once: Annotated[
        bool, typer.Option("--once", help="End when all is settled: 0, or 1 if a ledger disagrees.")
    ] = False,
    data_dir: Annotated[Path, typer.Option(help="Where PostgreSQL keeps its data.")] = Path(".makegood"),
    port: Annotated[
        int, typer.Option(min=1, max=HIGHEST_PORT, help="The service's; if taken, the next free one.")
    ] = 8080,
) -> None:
    """Run everything on this machine: embedded PostgreSQL, a payment provider, a supplier, sample payments."""
    # What the samples bring about on purpose stands in the table; the log's warnings would tear it apart.
    logging.disable(logging.WARNING)
    status = run(_demo(data_dir, port, once=once))
    if status is not ExitStatus.OK:
        raise typer.Exit(status)


async def _demo(data_dir: Path, port: int, *, once: bool) -> ExitStatus:
    async with set_up(data_dir, port) as stage:
        say(f"The configuration is {stage.path}. Starting PostgreSQL ...")
        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(main.serve(stage.settings, role=Role.ALL, ready=ready.set_result))
        either: set[asyncio.Future[Any]] = {serving, ready}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            await serving  # it was stopped, or it cannot start and says why
            return ExitStatus.OK
        playing = asyncio.create_task(_play(stage, ready.result(), once=once))
        await asyncio.wait({serving, playing}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            playing.cancel()  # somebody has stopped the service, and with it the demo
        elif once or playing.exception() is not None:
            # As from outside: the service drains and closes its database before this process ends.
            os.kill(os.getpid(), signal.SIGTERM)
        status = (await asyncio.gather(playing, return_exceptions=True))[0]
        await serving
        return _status(status)


def _status(result: ExitStatus | BaseException) -> ExitStatus:
    if isinstance(result, asyncio.CancelledError):
        return ExitStatus.OK
    if isinstance(result, BaseException):
        raise result
    return result


async def _play(stage: Stage, url: str, *, once: bool) -> ExitStatus:
    announce(url)
    stage.psp.webhook_url = f"{url}/webhooks/shop"
    console = Console(soft_wrap=False)
    async with Client(url, stage.keys.read, stage.began) as client:
        await client.begin()
        await _settle(stage, url, client, console)
        status = await _report(stage, client, console)
    if not once:
        paste.show(stage, url)
    return status


async def _settle(stage: Stage, url: str, client: Client, console: Console) -> None:
    async def look() -> Mapping[str, Json]:
        return {operation["external_id"]: operation for operation in await client.operations()}

    telling = asyncio.create_task(tell_all(stage.psp, url, stage.told))
    try:
        async with asyncio.timeout(SETTLE_SECONDS):
            await table.watch(stage.told, look, telling, console)
    except TimeoutError:
        say(f"Not all is settled after {SETTLE_SECONDS} s.")
    finally:
        telling.cancel()


async def _report(stage: Stage, client: Client, console: Console) -> ExitStatus:
    operations = await client.operations()
    attempts = {one["external_id"]: await client.attempts(one["id"]) for one in operations}
    calls = {payment: len(made) for payment, made in attempts.items()}
    table.show(stage.told, {one["external_id"]: one for one in operations}, calls, console)
    (shown,) = (one.payment.id for one in stage.told if one.sample.order_id == SHOWN)
    data(f"\n{SHOWN}, call by call:")
    as_columns(("step", "action", "attempt", "outcome"), [_call(attempt) for attempt in attempts.get(shown, ())])
    data("\nThe ledgers:")
    ledgers = stage.psp.ledger, stage.supplier.ledger
    as_columns(("counted", "by the partners", "by makegood"), audit.summary(*ledgers, operations))
    found = audit.disagreements(*ledgers, operations)
    lost = await client.difference()
    found += [f"makegood itself has lost count of {lost} payments"] if lost else []
    for disagreement in found:
        data(f"  {disagreement}")
    data("They disagree." if found else "They agree: every payment was purchased or refunded, none both, none twice.")
    return ExitStatus.FAILURE if found else ExitStatus.OK


def _call(attempt: Json) -> tuple[str, ...]:
    return tuple(str(attempt[name]) for name in ("step", "action", "attempt", "outcome"))
