"""`makegood reconcile` as a process beside a provider with books: what it prints, and how it ends."""

import asyncio
import io
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from rich.console import Console

from app.cli.reconciliation import Watched, show
from app.db.engine import connect
from app.identity import operation_id
from app.reconcile import Difference, Finding, Progress, Report
from tests.builders import NOW
from tests.cli.conftest import CONFIG, Makegood, Said
from tests.cli.process import PATIENCE, environment, running
from tests.fakes.server import Fault, Kind
from tests.fakes.stripe import StripeFake

SOURCES = """
[sources.card]
provider = "stripe"
secrets = ["whsec_test"]
saga = "purchase"
api = "stripe"

[sources.bare]
provider = "stripe"
secrets = ["whsec_test"]
saga = "purchase"

[agents.stripe]
base_url = "{url}"
"""


@dataclass
class Shop:
    """A provider, and a folder with the config file of a shop that it pays."""

    fake: StripeFake
    folder: Path
    database_url: str

    async def reconcile(self, *arguments: str) -> Said:
        """Runs the command."""
        command = [sys.executable, "-m", "app", "reconcile", *arguments]
        process = await asyncio.create_subprocess_exec(
            *command, cwd=self.folder, env=environment(), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(PATIENCE):
            out, err = await process.communicate()
        assert process.returncode is not None
        return Said(process.returncode, out.decode(), err.decode())


@pytest.fixture
async def shop(tmp_path: Path, database_url: str) -> AsyncIterator[Shop]:
    fake = StripeFake(now=lambda: datetime.now(UTC) - timedelta(minutes=1))
    async with fake.listening() as url:
        text = f'[database]\nurl = "{database_url}"\npool_size = 2\n{CONFIG}{SOURCES.format(url=url)}'
        (tmp_path / "makegood.toml").write_text(text, encoding="utf-8")
        yield Shop(fake, tmp_path, database_url)


async def test_what_is_missing_is_told_once_and_then_all_agree(shop: Shop) -> None:
    payment = shop.fake.capture("order-7", 1999)
    first = await shop.reconcile("--source", "card", "--since", "24h")
    assert first.status == 1, first.err
    heading, line = first.out.splitlines()
    assert heading.split() == ["PAYMENT", "ORDER", "DIFFERENCE", "HERE", "THERE", "OPERATION", "ABOUT"]
    for part in (payment.id, "order-7", "missing", "19.99 EUR", str(operation_id("card", payment.id))):
        assert part in line
    assert first.err.splitlines()[-1].endswith("UTC: 1 taken in")
    second = await shop.reconcile("--source", "card")
    assert (second.status, second.out) == (0, "")
    assert second.err.startswith("1 payments since ")
    assert second.err.endswith("UTC: all agree\n")


async def test_what_was_taken_in_is_carried_out_by_the_running_service(shop: Shop) -> None:
    payment = shop.fake.capture("order-7", 1999)
    connection = await connect(shop.database_url)
    with running("serve", "--port", "0", cwd=shop.folder) as service:
        await asyncio.to_thread(service.url)
        assert (await shop.reconcile("--source", "card")).status == 1
        async with asyncio.timeout(PATIENCE):
            while await connection.fetchval("SELECT status FROM operations") != "succeeded":
                await asyncio.sleep(0.05)
        assert await connection.fetchval("SELECT external_id FROM operations") == payment.id
        assert await asyncio.to_thread(service.terminate) == 0
    await connection.close()


async def test_a_schedule_in_the_config_is_kept_by_the_running_service(shop: Shop) -> None:
    shop.fake.capture("order-7", 1999)
    config = shop.folder / "makegood.toml"
    text = config.read_text(encoding="utf-8").replace(
        'api = "stripe"', 'api = "stripe"\nreconcile = { every = "6h", since = "24h" }'
    )
    config.write_text(text, encoding="utf-8")
    connection = await connect(shop.database_url)
    with running("serve", "--port", "0", "--role", "worker", cwd=shop.folder) as service:
        await asyncio.to_thread(service.url)
        async with asyncio.timeout(PATIENCE):
            while not any('"reconciled"' in line for line in service.err):
                await asyncio.sleep(0.05)
        assert await connection.fetchval("SELECT count(*) FROM operations") == 1
        assert await asyncio.to_thread(service.terminate) == 0
    await connection.close()


async def test_json_is_for_programs(shop: Shop) -> None:
    shop.fake.capture("order-7", 1999)
    payment = shop.fake.capture("order-8", 500)
    shop.fake.give_by_hand(payment, 500)
    said = await shop.reconcile("--source", "card", "--json")
    report = json.loads(said.out)
    assert (said.status, report["source"], report["payments"]) == (1, "card", 2)
    assert (report["missing"], report["differences"]) == (1, 1)
    [given_back] = [one for one in report["findings"] if one["difference"] == "given_back"]
    assert given_back == {
        "difference": "given_back",
        "payment_id": payment.id,
        "order_id": "order-8",
        "operation_id": None,
        "here": None,
        "there": 500,
        "currency": "EUR",
        "detail": "no webhook has told of it, and all of it was given back since; it was not taken in",
    }
    again = json.loads((await shop.reconcile("--source", "card", "--json")).out)
    assert (again["missing"], again["differences"], len(again["findings"])) == (0, 0, 1)


async def test_a_provider_that_refuses_is_no_difference(shop: Shop) -> None:
    shop.fake.script(Kind.PAYMENTS, Fault(401))
    said = await shop.reconcile("--source", "card")
    assert (said.status, said.out) == (5, "")
    assert said.err == "rejected: stripe answered 401: it does not tell its payments\n"


async def test_a_source_without_an_agent_to_ask_is_a_fault_of_the_config(shop: Shop) -> None:
    said = await shop.reconcile("--source", "bare")
    assert (said.status, said.out) == (2, "")
    assert said.err == "sources.bare.api: is needed: the agent at which the payments are read\n"


def test_what_was_mistyped_is_told(makegood: Makegood, config: Path) -> None:
    assert makegood("reconcile", "--source", "shpo", "-c", str(config)).status == 3
    wrong = makegood("reconcile", "--source", "shop", "--since", "yesterday", "-c", str(config))
    assert wrong.status == 2
    assert "must be a duration" in wrong.err
    cannot = makegood("reconcile", "--source", "shop", "-c", str(config))
    assert (cannot.status, cannot.err) == (
        2,
        "sources.shop.provider: the payments of standard-webhooks cannot be read from its API\n",
    )


# --- on a terminal ---

FINDING = Finding(Difference.AMOUNT, "pi_1\x1b[2J", "order-1", UUID(int=1), 1999, 2999, "EUR", "another one")


def terminal() -> tuple[Console, io.StringIO]:
    screen = io.StringIO()
    return Console(file=screen, force_terminal=True, width=160, color_system=None), screen


def test_on_a_terminal_there_is_a_table_with_nothing_that_the_terminal_would_obey() -> None:
    console, screen = terminal()
    show(Report("card", NOW, NOW, 1, (FINDING, replace(FINDING, difference=Difference.MISSING))), console)
    shown = screen.getvalue()
    assert "19.99 EUR" in shown
    assert "29.99 EUR" in shown
    assert "pi_1·[2J" in shown
    assert "\x1b[2J" not in shown


def test_on_a_terminal_a_bar_says_how_far_it_is() -> None:
    console, screen = terminal()
    with Watched(console) as watch:
        watch(Progress(2, 150, 3, 4))
        watch._bar.refresh()
    assert "150 payments, 3 missing, 4 to look at" in screen.getvalue()


def test_elsewhere_there_is_no_bar() -> None:
    screen = io.StringIO()
    with Watched(Console(file=screen)) as watch:
        watch(Progress(2, 150, 3, 4))
    assert screen.getvalue() == ""
