"""The calls of a saga: `do`, `undo` and `lookup`."""

import re
from collections.abc import Callable, Collection

from app.saga.definition import Call, HttpCall, LocalCall, Lookup, RefundCall
from app.settings.document import Table
from app.settings.expressions import expression_fault, path_fault

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

_LOCAL = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_LOCAL_TIMEOUT = LocalCall("").timeout
_HTTP_KEYS = ("agent", "method", "path", "body")


def read_undo(table: Table, agents: Collection[str], protocols: Collection[str], *, first: bool) -> Call:
    """An `undo`: a call, or of the payment a refund protocol.

    Args:
        protocols: the providers that have one.
        first: whether it is the payment's.
    """
    if not table.has("refund"):
        return read_call(table, agents)
    for key in (*_HTTP_KEYS[1:], "local", "timeout"):
        if table.has(key):
            table.fault(key, "does not go with `refund`: the protocol of the provider says it all")
    if not first:
        table.fault("refund", "gives the payment back: it is the undo of the first step, the payment, and of no other")

    def protocol_fault(name: str) -> str | None:
        if name in protocols:
            return None
        there_are = ", ".join(sorted(protocols))
        return f"no refund protocol named {table.document.quote(name)}; there are: {there_are}"

    return RefundCall(
        table.text("agent", check=_agent_check(table, agents)), table.text("refund", check=protocol_fault)
    )


def read_call(table: Table, agents: Collection[str]) -> Call:
    """A `do` or an `undo`: an HTTP call or a local function."""
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


def _agent_check(table: Table, agents: Collection[str]) -> Callable[[str], str | None]:
    return lambda name: None if name in agents else f"no agent named {table.document.quote(name)}"


def _http(table: Table, agents: Collection[str]) -> tuple[str, str, str, str | None]:
    agent = table.text("agent", check=_agent_check(table, agents))
    method = table.one_of("method", METHODS)
    path = table.text("path", check=path_fault)
    body = table.optional_text("body", expression_fault)
    if body is not None and method == "GET":
        table.fault("body", "a GET has no body")
    return agent, method, path, body
