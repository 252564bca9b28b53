"""The configuration that the service under test runs with: the service's defaults, but for what is written here."""

import hashlib
import json
from pathlib import Path

from app import providers, settings
from bench.webhooks import SECRET

KEY = "mg_bench"  # reads the API; the service listens on 127.0.0.1 for as long as the bench runs

# The payment is the first step; the purchase, the second, is the one call that every side makes.
HTTP_STEP = """do = { agent = "supplier", method = "POST", path = "/purchases", body = "{id: operation_id, order: order_id, amount: amount}" }
undo = { agent = "supplier", method = "POST", path = "/purchases/{operation_id}/cancel" }"""
LOCAL_STEP = 'do = { local = "bench.programs.steps:purchase" }'

PLACES = 64  # operations at work in a process, and calls under way to an agent: the service's defaults
# What `docs/performance.md` advises for working off what has piled up.
PLACES_FOR_BACKLOG = 512
PLACES_APART = 256  # where `api` and `worker` are processes of their own

TEMPLATE = """\
[database]
url = {url}

[[api_keys]]
name = "bench"
scope = "read"
sha256 = "{key}"

[sources.shop]
provider = "standard-webhooks"
secrets = [{secret}]
saga = "purchase"
tolerance = "1h"

[worker]
concurrency = {places}

[agents.supplier]
base_url = "http://127.0.0.1:{supplier}"
max_concurrency = {places}

[[sagas.purchase.steps]]
name = "payment"
undo = {{ agent = "supplier", method = "POST", path = "/refunds", body = "{{payment_id: external_id, amount: amount, currency: currency}}" }}

[[sagas.purchase.steps]]
name = "purchase"
{step}
"""


def write(path: Path, *, url: str, supplier: int, local: bool = False, places: int = PLACES, further: str = "") -> Path:
    """Writes a configuration for its owner's eyes alone, as it holds the database's password; returns the path.

    Args:
        supplier: its port.
        local: whether the purchase is a step in Python.
        places: operations at work at once.
        further: tables that are none of the above.
    """
    text = TEMPLATE.format(
        url=json.dumps(url),
        key=hashlib.sha256(KEY.encode()).hexdigest(),
        secret=json.dumps(SECRET),
        supplier=supplier,
        step=LOCAL_STEP if local else HTTP_STEP,
        places=places,
    )
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(text + further, encoding="utf-8")
    return path


def read(path: Path) -> settings.Settings:
    """What the service makes of such a file."""
    return settings.load(path, {}, providers.known())
