"""Steps in Python: found as Python finds them, bounded in time, and whatever goes wrong in one is a clear answer."""

import asyncio
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.agents import Exchange, run_local
from app.agents.local import check
from app.saga.definition import LocalCall
from app.saga.model import Outcome
from app.saga.signals import StepDone, StepRejected, StepUnavailable
from tests.builders import NOW, FixedClock

STEPS = """
import asyncio
from datetime import timedelta
from app.agents import Rejected, Unavailable

async def reserve(call, connection):
    connection.append(call["order_id"])
    return {"ref": "R-1", "password": "hidden"}

async def nothing(call, connection):
    return None

async def refuse(call, connection):
    raise Rejected("sold out", status=404)

async def busy(call, connection):
    raise Unavailable("later", retry_after=timedelta(days=3))

async def busy_now(call, connection):
    raise Unavailable("later", status=409)

async def broken(call, connection):
    return 1 / 0

async def leaves(call, connection):
    raise SystemExit(3)

async def text(call, connection):
    return "done"

async def no_json(call, connection):
    return {"at": object()}

async def not_a_number(call, connection):
    return {"n": float("nan")}

async def large(call, connection):
    return {"x": "y" * 65536}

async def hangs(call, connection):
    await asyncio.Event().wait()

async def hangs_on(call, connection):
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return {"late": True}

async def times_out_itself(call, connection):
    raise TimeoutError("a query took too long")

async def cancels_itself(call, connection):
    raise asyncio.CancelledError

def not_async(call, connection):
    return None

class Shop:
    @staticmethod
    async def reserve(call, connection):
        return {"ref": "S"}
"""


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A module in the working directory, which is not on Python's path."""
    (tmp_path / "makegood_test_shop.py").write_text(STEPS, encoding="utf-8")
    (tmp_path / "makegood_test_broken.py").write_text("1 / 0\n", encoding="utf-8")
    (tmp_path / "makegood_test_leaves.py").write_text("raise SystemExit\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    yield
    sys.modules.pop("makegood_test_shop", None)


async def run(name: str, connection: Any = None, *, timeout: float = 5.0) -> Exchange:
    call = LocalCall(f"makegood_test_shop:{name}", timedelta(seconds=timeout))
    return await run_local(call, {"order_id": "order-1"}, connection, FixedClock())


async def test_a_function_gets_the_document_and_the_connection_and_its_dict_is_the_result() -> None:
    connection: list[str] = []
    exchange = await run("reserve", connection)
    assert connection == ["order-1"]
    assert exchange.answer == StepDone({"ref": "R-1", "password": "hidden"})
    assert exchange.outcome is Outcome.DONE
    assert exchange.response == {"status": None, "body": {"ref": "R-1", "password": "[redacted]"}}


async def test_none_is_a_result_too() -> None:
    assert (await run("nothing")).answer == StepDone(None)


async def test_rejected_is_rejected_with_its_status() -> None:
    exchange = await run("refuse")
    assert isinstance(exchange.answer, StepRejected)
    assert exchange.answer.error.detail == "sold out"
    assert exchange.answer.error.status == 404
    assert exchange.outcome is Outcome.REJECTED


async def test_unavailable_is_unavailable_and_asks_for_a_wait_of_24_h_at_most() -> None:
    later, now = await run("busy"), await run("busy_now")
    assert isinstance(later.answer, StepUnavailable)
    assert isinstance(now.answer, StepUnavailable)
    assert later.answer.retry_at == NOW + timedelta(hours=24)
    assert now.answer.retry_at is None
    assert now.answer.error.status == 409


@pytest.mark.parametrize(
    ("name", "detail"),
    [
        ("broken", "ZeroDivisionError: division by zero"),
        ("leaves", "SystemExit: 3"),
        ("text", "makegood_test_shop:text returned str, neither a dict nor None"),
        ("no_json", "returned what is no JSON"),
        ("not_a_number", "returned what is no JSON"),
        ("large", "more than 65536"),
        ("times_out_itself", "TimeoutError: a query took too long"),
        ("cancels_itself", "it was cancelled from within"),
        ("not_async", "is no async function"),
        ("missing", "makegood_test_shop has no missing"),
    ],
)
async def test_anything_else_is_unavailable_and_says_what_went_wrong(name: str, detail: str) -> None:
    exchange = await run(name)
    assert isinstance(exchange.answer, StepUnavailable)
    assert detail in exchange.answer.error.detail
    assert exchange.answer.error.kind is exchange.outcome is Outcome.UNAVAILABLE


@pytest.mark.parametrize("name", ["hangs", "hangs_on"])
async def test_a_function_has_its_timeout_even_if_it_holds_its_cancellation_up(name: str) -> None:
    exchange = await run(name, timeout=0.05)
    assert isinstance(exchange.answer, StepUnavailable)
    assert exchange.answer.error.detail == "no end within 0.05 s"


async def test_a_worker_that_is_told_to_stop_cancels_the_function() -> None:
    """Trap: a cancellation is no answer of the function; nothing may be recorded from it."""
    running = asyncio.create_task(run("hangs"))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


def test_a_function_is_found_in_the_working_directory() -> None:
    assert check("makegood_test_shop:reserve") is None
    assert check("makegood_test_shop:Shop.reserve") is None


@pytest.mark.parametrize(
    "reference",
    [
        "makegood_test_shop:missing",
        "makegood_test_shop:not_async",
        "makegood_test_shop:STEPS",
        "makegood_no_such_module:reserve",
        "makegood_test_broken:reserve",
        "makegood_test_leaves:reserve",
    ],
)
def test_what_cannot_be_run_is_named_before_it_is_needed(reference: str) -> None:
    assert check(reference) is not None
