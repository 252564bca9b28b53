"""The calls out are tried on both event loops that they run on: asyncio's own, and uvloop, which servers have."""

import asyncio
from collections.abc import Callable, Mapping

import pytest

try:
    from uvloop import new_event_loop as new_uvloop
except ImportError:  # not on Windows
    LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
else:
    LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": new_uvloop}

ON_EACH_LOOP = frozenset(
    {
        "test_connection.py",
        "test_connections_at_rest.py",
        "test_http.py",
        "test_http_unknown.py",
        "test_http_unsent.py",
        "test_never_twice.py",
        "test_tls.py",
        "test_transport.py",
    }
)


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loops that a test is run on."""
    return LOOPS if item.path.name in ON_EACH_LOOP else {"asyncio": asyncio.new_event_loop}
