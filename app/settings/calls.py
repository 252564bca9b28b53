"""The calls of a saga: `do`, `undo` and `lookup`."""

import re
from collections.abc import Collection

from app.saga.definition import Call, HttpCall, LocalCall, Lookup
from app.settings.document import Table
from app.settings.expressions import expression_fault, path_fault

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

_LOCAL = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_LOCAL_TIMEOUT = LocalCall("").timeout
_HTTP_KEYS = ("agent", "method", "path", "body")


def read_call(table: Table, agents: Collection[str]) -> Call | None:
    """A `do` or an `undo`: an HTTP call or a local function. None where it is neither; the fault is noted."""
    if table.has("refund"):
        table.know(*_HTTP_KEYS)
        protocol = table.document.quote(table.text("refund"))
        table.fault("refund", f"no refund protocol named {protocol}: this version speaks none, declare a call instead")
        return None
    if table.has("local"):
        return _local_call(table)
    table.know("local", "timeout")
    if table.has("timeout"):
        table.fault("timeout", "goes with `local` alone; an HTTP call has the timeout of its agent")
    agent, method, path, body = _http(table, agents)
    return HttpCall(agent, method, path, body)


def _local_call(table: Table) -> LocalCall:
    for key in _HTTP_KEYS:
        if table.has(key):
            table.fault(key, "does not go with `local`")
    return LocalCall(
        local=table.text("local", check=_local_fault),
        timeout=table.duration("timeout", _LOCAL_TIMEOUT),
    )


def _local_fault(reference: str) -> str | None:
    return None if _LOCAL.fullmatch(reference) else 'must be "module:function", such as "shop.steps:reserve"'


def read_lookup(table: Table, agents: Collection[str]) -> Lookup:
    """A `lookup`."""
    agent, method, path, body = _http(table, agents)
    return Lookup(agent, method, path, body, done=table.optional_text("done", expression_fault))


def _http(table: Table, agents: Collection[str]) -> tuple[str, str, str, str | None]:
    def agent_fault(name: str) -> str | None:
        return None if name in agents else f"no agent named {table.document.quote(name)}"

    agent = table.text("agent", check=agent_fault)
    method = table.one_of("method", METHODS)
    path = table.text("path", check=path_fault)
    body = table.optional_text("body", expression_fault)
    if body is not None and method == "GET":
        table.fault("body", "a GET has no body")
    return agent, method, path, body
