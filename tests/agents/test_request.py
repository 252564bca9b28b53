"""The request of a declared call: where it goes, its headers, and what of it is put on record."""

import base64
import json
import re
from dataclasses import replace
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.agents import RequestRefused
from app.agents.request import next_traceparent
from app.saga.definition import HttpCall, LocalCall
from app.saga.model import Action
from tests.agents.support import ASK, BUY, agents_with, document_of, sending_of
from tests.builders import operation_for

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-00"


@pytest.mark.parametrize("base", ["http://h/api/v1", "http://h/api/v1/"])
def test_the_base_urls_own_path_is_kept_in_front(base: str) -> None:
    sending = sending_of(replace(BUY, path="/purchases?mode=a/b"))
    request = agents_with(base).render(sending, document_of(sending), None)
    assert str(request.target) == "http://h/api/v1/purchases?mode=a/b"
    assert request.url == str(request.target)


def test_a_call_has_the_headers_of_the_contract() -> None:
    sending = sending_of(attempt=3)
    request = agents_with().render(sending, document_of(sending), PARENT)
    headers = {name.lower(): value for name, value in request.headers.items()}
    assert headers["idempotency-key"] == f"{sending.operation.id}:purchase:do"
    assert headers["makegood-attempt"] == "3"
    assert headers["content-type"] == headers["accept"] == "application/json"
    assert headers["user-agent"].startswith("makegood/")
    assert request.body == {"id": str(sending.operation.id)}
    assert request.content == json.dumps(request.body, separators=(",", ":")).encode()


def test_the_key_is_the_same_for_every_attempt_and_another_for_the_undo() -> None:
    """Trap 21: a key with an attempt or a lease in it turns a takeover into a second purchase."""
    sendings = [sending_of(attempt=attempt) for attempt in (1, 2, 9)]
    agents = agents_with()
    keys = {agents.render(sending, document_of(sending), None).headers["Idempotency-Key"] for sending in sendings}
    undo = sending_of(action=Action.UNDO)
    assert len(keys) == 1
    assert agents.render(undo, document_of(undo), None).headers["Idempotency-Key"].endswith(":purchase:undo")


def test_a_delete_has_its_key_and_a_body_too() -> None:
    """Trap 6: a cancel made as DELETE is repeated like any other call, so it needs its key like any other."""
    sending = sending_of(HttpCall("supplier", "DELETE", "/purchases/{operation_id}"), Action.UNDO)
    request = agents_with().render(sending, document_of(sending), None)
    assert request.headers["Idempotency-Key"] == f"{sending.operation.id}:purchase:undo"
    assert json.loads(request.content or b"")["order_id"] == "order-1"


def test_a_get_has_no_body_and_a_lookup_no_key() -> None:
    sending = sending_of(ASK, attempt=2)
    request = agents_with().render(sending, document_of(sending), None)
    assert request.content is None
    assert request.body is None
    assert "Idempotency-Key" not in request.headers
    assert "Content-Type" not in request.headers
    assert request.headers["Makegood-Attempt"] == "2"


def test_the_operations_trace_goes_on_with_a_span_of_the_calls_own() -> None:
    operation = operation_for()
    first, second = (next_traceparent(PARENT, operation.id) for _ in range(2))
    assert re.fullmatch(rf"00-{TRACE}-[0-9a-f]{{16}}-00", first)
    assert first != second


@pytest.mark.parametrize(
    "unusable",
    [None, "", "rubbish", f"ff-{TRACE}-b7ad6b7169203331-01", f"00-{'0' * 32}-b7ad6b7169203331-01", PARENT.upper()],
)
def test_without_a_trace_the_operations_id_is_one(unusable: str | None) -> None:
    operation = operation_for()
    assert next_traceparent(unusable, operation.id).startswith(f"00-{operation.id.hex}-")


def test_configured_headers_are_sent_and_take_the_place_of_our_defaults_alone() -> None:
    headers = {"Authorization": "Bearer s3cr3t-token", "content-type": "application/vnd.api+json", "ACCEPT": "text/x"}
    sending = sending_of()
    request = agents_with(headers=headers).render(sending, document_of(sending), None)
    assert {name.lower() for name in request.headers} == {
        "accept",
        "accept-encoding",
        "authorization",
        "content-type",
        "host",
        "idempotency-key",
        "makegood-attempt",
        "traceparent",
        "user-agent",
    }
    assert request.headers["content-type"] == "application/vnd.api+json"


def test_what_is_recorded_and_shown_holds_no_credentials() -> None:
    call = replace(BUY, path="/purchases?api_key=k3y-of-ours&x=1", body="{note: event.note, token: event.t}")
    agents = agents_with("http://user:p%40ss-word@h", headers={"X-Key": "k3y-of-ours"})
    sending = sending_of(call)
    request = agents.render(sending, document_of(sending, {"note": "k3y-of-ours p@ss-word", "t": "abc"}), None)
    assert request.headers["Authorization"] == f"Basic {base64.b64encode(b'user:p@ss-word').decode()}"
    assert request.url == "http://h/purchases?api_key=[redacted]&x=1"
    assert str(request.target) == "http://h/purchases?api_key=k3y-of-ours&x=1"
    assert request.body == {"note": "[redacted] [redacted]", "token": "[redacted]"}
    assert json.loads(request.content or b"") == {"note": "k3y-of-ours p@ss-word", "token": "abc"}
    assert "ss-word" not in repr(request)
    assert "k3y" not in repr(request)


def test_a_large_body_is_sent_whole_and_recorded_as_its_beginning() -> None:
    sending = sending_of(replace(BUY, body="event"))
    request = agents_with().render(sending, document_of(sending, ["x" * 1000] * 100), None)
    assert len(request.content or b"") > 100_000
    assert len(request.body) < 17_000
    assert request.body.startswith('["xxx')
    assert request.body.endswith("[cut]")


@given(st.text(min_size=1).filter(lambda text: text not in {".", ".."}))
def test_any_text_reaches_the_agent_as_exactly_one_segment(text: str) -> None:
    """Trap: an order id of a shop is no path: `a/../b` must not become another purchase's address."""
    sending = sending_of(replace(BUY, path="/p/{event.id}/cancel"))
    request = agents_with("http://h/api").render(sending, document_of(sending, {"id": text}), None)
    empty, api, purchases, segment, cancel = request.path.split("/")
    assert (empty, api, purchases, cancel) == ("", "api", "p", "cancel")
    assert unquote(segment) == text
    assert not {"?", "#"} & set(segment)


def test_a_path_that_makes_no_url_is_refused() -> None:
    sending = sending_of(replace(BUY, path="/{event.long}"))
    with pytest.raises(RequestRefused, match="no URL"):
        agents_with().render(sending, document_of(sending, {"long": "x" * 70_000}), None)


def test_a_local_step_is_never_rendered() -> None:
    sending = sending_of(LocalCall("shop.steps:reserve"))
    with pytest.raises(TypeError):
        agents_with().render(sending, document_of(sending), None)
