"""What the demo leaves to try: keys, a webhook, a payment at the sandbox's own provider."""

import json
import shlex
import shutil
import sys
import uuid
from pathlib import Path

from app.cli.demo.stage import Stage, sign
from app.cli.output import data


def show(stage: Stage, url: str) -> None:
    """Prints the keys, and lines to paste into another terminal."""
    data(f"""
The sandbox's API keys, new at each start:
  read     {stage.keys.read}
  operate  {stage.keys.operate}

A payment to paste into another terminal, signed for the next 24 h:
  {_curl(stage, url)}

The same by this program, from a file:
  {program()} webhook send --config {shlex.quote(str(stage.path))} --source shop {shlex.quote(str(_sample(stage)))}

A payment at the sandbox's provider, which tells of it itself. The order's id says what the supplier does with it
(-refused, -sold-out, -busy, -lost, -late, -down, -down-bought, -unreturnable):
  curl -H 'Content-Type: application/json' -d '{{"order_id": "order-20-late", "amount": 1500}}' {stage.psp_url}/payments

What became of them:
  MAKEGOOD_URL={url} MAKEGOOD_KEY={stage.keys.operate} {program()} operations list

Reference: {url}/docs   Ctrl-C ends it.""")


def program() -> str:
    """How the person at the keyboard starts this program."""
    if shutil.which("makegood"):
        return "makegood"
    here = Path(sys.executable)
    return f"{here.relative_to(Path.cwd()) if here.is_relative_to(Path.cwd()) else here} -m app"


def _payment(order_id: str) -> dict[str, object]:
    paid = {"payment_id": f"pay_{uuid.uuid4().hex[:16]}", "order_id": order_id, "amount": 1999, "currency": "EUR"}
    return {"type": "payment.received", "data": paid}


def _curl(stage: Stage, url: str) -> str:
    body = json.dumps(_payment("order-pasted"))
    headers = sign(stage.settings, body.encode(), f"msg_{uuid.uuid4().hex[:16]}")
    given = " ".join(f"-H {shlex.quote(f'{name}: {value}')}" for name, value in headers.items())
    return f"curl -i {given} \\\n    --data-binary {shlex.quote(body)} {url}/webhooks/shop"


def _sample(stage: Stage) -> Path:
    path = stage.path.with_name("payment.json")
    path.write_text(json.dumps(_payment("order-from-file"), indent=2), encoding="utf-8")
    return path
