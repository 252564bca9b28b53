"""What the demo plays on: both partners on ports of their own, and a config file that knows them."""

import contextlib
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import httpx

from app import providers
from app.cli.configuration import configured
from app.cli.demo import config
from app.cli.demo.samples import Told
from app.cli.output import say
from app.clock import DatabaseClock
from app.errors import ConfigurationError
from app.sandbox import PaymentProvider, Supplier, listening
from app.settings import Settings

HOST = "127.0.0.1"

# How many ports are tried before the demo gives up.
PORTS = 100


@dataclass(slots=True)
class Stage:
    """Everything but the service itself.

    Args:
        path: of the config file.
        began: when the demo began, by this machine's clock.
        told: what the payment provider has told of so far.
    """

    psp: PaymentProvider
    supplier: Supplier
    psp_url: str
    path: Path
    keys: config.Keys
    settings: Settings
    began: datetime
    told: list[Told] = field(default_factory=list)


def sign(settings: Settings, body: bytes, delivery_id: str) -> Mapping[str, str]:
    """The headers with which the payment provider signs, now. Both sources of the demo have the same secret."""
    source = settings.sources["shop"]
    return providers.provider(source.provider).sign(source, body, DatabaseClock().wall(), delivery_id).headers


@contextlib.asynccontextmanager
async def set_up(data_dir: Path, port: int) -> AsyncIterator[Stage]:
    """Starts both partners and writes the config file.

    Args:
        port: of the service to come; where it is taken, the next free one.

    Raises:
        ConfigurationError: no port is free.
    """
    clock = DatabaseClock()
    path = data_dir / "demo.toml"
    supplier = Supplier()
    async with contextlib.AsyncExitStack() as closing:
        http = await closing.enter_async_context(httpx.AsyncClient(trust_env=False))
        psp = PaymentProvider(lambda body, delivery_id: sign(settings, body, delivery_id), clock.wall, http)
        psp_url = await closing.enter_async_context(listening(psp.app))
        supplier_url = await closing.enter_async_context(listening(supplier.app))
        closing.push_async_callback(psp.close)
        free = free_port(port)
        keys = config.write(path, host=HOST, port=free, data_dir=data_dir, psp=psp_url, supplier=supplier_url)
        settings = configured(path, {})
        yield Stage(psp, supplier, psp_url, path, keys, settings, clock.wall())


def free_port(wanted: int) -> int:
    """The port wanted, or the next one that is free. Raises ConfigurationError where none is."""
    for port in range(wanted, min(wanted + PORTS, 1 << 16)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind((HOST, port))
                if port != wanted:
                    say(f"Port {wanted} is taken: the service takes {port}.")
                return port
    raise ConfigurationError([f"--port: neither {wanted} nor one of the {PORTS} after it is free"])
