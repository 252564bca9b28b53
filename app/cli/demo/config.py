"""The demo's config file: written as a user would write it, with short times so that all ends while one looks on."""

import base64
import json
import secrets
from dataclasses import dataclass
from pathlib import Path

from app.cli import keys

SECRET_BYTES = 24

_TEMPLATE = """\
# Written by `makegood demo` at each start: the sandbox's ports, secrets and keys are new each time.
[server]
host = {host}
port = {port}

[database]
data_dir = {data_dir}

[worker]
lease = "3s"
poll_interval = "200ms"

{read}

{operate}

[sources.shop]
provider = "standard-webhooks"
secrets = [{secret}]
saga = "purchase"
tolerance = "24h"               # so that what the demo prints can be pasted all day

[sources.travel]
provider = "standard-webhooks"
secrets = [{secret}]
saga = "booking"
tolerance = "24h"

[agents.psp]
base_url = {psp}
timeout = "1s"
in_flight = "4s"

[agents.supplier]
base_url = {supplier}
timeout = "1s"
in_flight = "4s"

[sagas.purchase]
deadline = "5m"

[[sagas.purchase.steps]]
name = "payment"
undo = {{ agent = "psp", method = "POST", path = "/refunds", body = "{{payment_id: external_id, amount: amount, currency: currency}}" }}
undo_retry = {retry}

[[sagas.purchase.steps]]
name = "purchase"
do = {{ agent = "supplier", method = "POST", path = "/purchases", body = "{{id: operation_id, order: order_id, amount: amount}}" }}
undo = {{ agent = "supplier", method = "POST", path = "/purchases/{{operation_id}}/cancel" }}
lookup = {{ agent = "supplier", method = "GET", path = "/purchases/{{operation_id}}", done = "status == 'confirmed'" }}
retry = {retry}
undo_retry = {retry}

[sagas.booking]
deadline = "5m"

[[sagas.booking.steps]]
name = "payment"
undo = {{ agent = "psp", method = "POST", path = "/refunds", body = "{{payment_id: external_id, amount: amount, currency: currency}}" }}
undo_retry = {retry}

[[sagas.booking.steps]]
name = "flight"
do = {{ agent = "supplier", method = "POST", path = "/flights", body = "{{id: operation_id, order: order_id, amount: amount}}" }}
undo = {{ agent = "supplier", method = "POST", path = "/flights/{{operation_id}}/cancel" }}
retry = {retry}
undo_retry = {retry}

[[sagas.booking.steps]]
name = "hotel"
do = {{ agent = "supplier", method = "POST", path = "/hotels", body = "{{id: operation_id, order: order_id, amount: amount, flight: results.flight.ref}}" }}
undo = {{ agent = "supplier", method = "POST", path = "/hotels/{{operation_id}}/cancel" }}
retry = {retry}
undo_retry = {retry}
"""

_RETRY = """{ maximum_attempts = 4, initial_interval = "200ms", backoff_coefficient = 2.0, maximum_interval = "1s" }"""


@dataclass(frozen=True, slots=True)
class Keys:
    """The demo's API keys, to be shown."""

    read: str
    operate: str


def write(path: Path, *, host: str, port: int, data_dir: Path, psp: str, supplier: str) -> Keys:
    """Writes the demo's config file, for its owner's eyes alone, and returns the keys that it has only the hashes of.

    Args:
        psp: the payment provider's base URL.
        supplier: the supplier's base URL.
    """
    read, read_hash = keys.make()
    operate, operate_hash = keys.make()
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
    text = _TEMPLATE.format(
        host=_quoted(host),
        port=port,
        data_dir=_quoted(str(data_dir.absolute())),  # the file may be used from anywhere
        read=keys.toml("demo-read", "read", read_hash),
        operate=keys.toml("demo-operate", "operate", operate_hash),
        secret=_quoted(secret),
        psp=_quoted(psp),
        supplier=_quoted(supplier),
        retry=_RETRY,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    return Keys(read, operate)


def _quoted(value: str) -> str:
    """A TOML basic string; a dollar sign is not to be read as the beginning of an environment name."""
    return json.dumps(value, ensure_ascii=False)
