"""Each provider's sample over the webhook and into the database: its answer, its redelivery, its replay."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import pytest

from app import providers
from app.errors import DatabaseUnavailable
from app.providers import Signed
from tests.api.desk import Desk, desk_on
from tests.builders import FixedClock
from tests.providers.stages import Stage, signed, stage_of


@pytest.fixture
async def desk(database_url: str, clock: FixedClock, tmp_path: Path) -> AsyncIterator[Desk]:
    """The API of one process with a source for each provider, by its name."""
    async with desk_on(database_url, clock, tmp_path) as desk:
        sources = {name: replace(stage_of(name).source, name=name, identity=name) for name in providers.names()}
        settings = replace(desk.context.settings, sources=MappingProxyType(sources))
        desk.app.take_deliveries(replace(desk.context, settings=settings))
        yield desk


@pytest.fixture(params=providers.names())
def stage(request: pytest.FixtureRequest) -> Stage:
    return stage_of(request.param)


async def post(desk: Desk, stage: Stage, sent: Signed) -> httpx.Response:
    return await desk.client.post(f"/webhooks/{stage.source.provider}", content=sent.body, headers=dict(sent.headers))


async def events(desk: Desk) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = (await desk.client.get("/events")).json()["items"]
    return listed


async def operations(desk: Desk) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = (await desk.client.get("/operations")).json()["items"]
    return listed


def now(desk: Desk, stage: Stage, body: bytes, delivery_id: str = "msg_1") -> Signed:
    return signed(stage.source, body, delivery_id, desk.clock.wall())


async def test_a_payment_is_taken_once_however_often_and_as_whatever_it_comes(desk: Desk, stage: Stage) -> None:
    wanted = providers.provider(stage.source.provider).acknowledgement
    changed = json.dumps(json.loads(stage.sample) | {"pending_webhooks": 0, "attempt": 2}).encode()
    deliveries = [(stage.sample, "msg_1"), (stage.sample, "msg_1"), (changed, "msg_1"), (stage.sample, "msg_2")]
    answers = [await post(desk, stage, now(desk, stage, body, name)) for body, name in deliveries]
    if wanted is None:
        assert [answer.status_code for answer in answers] == [202, 200, 200, 200]
        assert {answer.json()["status"] for answer in answers[1:]} == {"duplicate"}
    else:
        assert [(answer.status_code, answer.text) for answer in answers] == [(200, wanted)] * 4
        assert answers[0].headers["content-type"].startswith("text/plain")
    [operation] = await operations(desk)
    assert (operation["amount"], operation["currency"], operation["status"]) == (1999, "EUR", "pending")
    assert {event["status"] for event in await events(desk)} <= {"accepted", "duplicate"}
    assert sum(event["deliveries"] for event in await events(desk)) == 4


async def test_a_signature_of_somebody_else_stores_nothing(desk: Desk, stage: Stage) -> None:
    sent = signed(stage.other, stage.sample, now=desk.clock.wall())
    assert (await post(desk, stage, sent)).status_code == 401
    assert (await operations(desk), await events(desk)) == ([], [])


async def test_a_body_that_is_no_json_is_a_client_error(desk: Desk, stage: Stage) -> None:
    provider = providers.provider(stage.source.provider)
    for body in (b"", b"\xff", b"[" * 500, b"id=tr_1"):
        in_body = provider.acknowledgement is not None
        sent = Signed({}, body) if in_body else now(desk, stage, body)
        assert (await post(desk, stage, sent)).status_code == 400
    assert await events(desk) == []


# --- batches ---


def batch(desk: Desk, *changes: dict[str, Any]) -> Signed:
    stage = stage_of("adyen")
    envelope = json.loads(stage.sample)
    item = envelope["notificationItems"][0]["NotificationRequestItem"]
    envelope["notificationItems"] = [{"NotificationRequestItem": {**item, **change}} for change in changes]
    return now(desk, stage, json.dumps(envelope).encode())


ITEMS: list[dict[str, Any]] = [
    {"pspReference": "A", "operations": None},
    {"pspReference": "B", "operations": None},
    {"pspReference": "C", "eventCode": "REPORT_AVAILABLE", "operations": None},
]


async def test_a_batch_is_stored_whole(desk: Desk) -> None:
    stage = stage_of("adyen")
    answers = [await post(desk, stage, batch(desk, *items)) for items in (ITEMS[:2], [*ITEMS[1:], ITEMS[1]])]
    assert {(answer.status_code, answer.text) for answer in answers} == {(200, "[accepted]")}
    assert sorted(operation["external_id"] for operation in await operations(desk)) == ["A", "B"]
    kept = sorted((event["delivery_id"], event["status"], event["deliveries"]) for event in await events(desk))
    assert kept == [
        ("A.AUTHORISATION.true", "accepted", 1),
        ("B.AUTHORISATION.true", "accepted", 3),
        ("C.REPORT_AVAILABLE.true", "ignored", 1),
    ]


async def test_a_batch_with_one_forged_item_stores_nothing(desk: Desk) -> None:
    sent = batch(desk, *ITEMS[:2])
    forged = replace(sent, body=sent.body.replace(b'"B"', b'"D"'))
    assert (await post(desk, stage_of("adyen"), forged)).status_code == 401
    assert (await operations(desk), await events(desk)) == ([], [])


async def test_a_batch_of_which_one_item_cannot_be_written_stores_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of a batch would be acknowledged with the other half lost: all of it comes again."""
    store = desk.store
    whole = store.ingest_all

    async def poisoned(arrivals: Any) -> Any:
        *rest, last = arrivals
        return await whole([*rest, replace(last, delivery_id="\x00")])

    monkeypatch.setattr(store, "ingest_all", poisoned)
    assert (await post(desk, stage_of("adyen"), batch(desk, *ITEMS[:2]))).status_code == 500
    monkeypatch.undo()
    assert (await operations(desk), await events(desk)) == ([], [])


async def test_while_the_database_is_away_nothing_is_acknowledged(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object) -> None:
        raise DatabaseUnavailable("away")

    monkeypatch.setattr(desk.store, "ingest_all", away)
    assert (await post(desk, stage_of("adyen"), batch(desk, *ITEMS))).status_code == 503


async def test_one_item_of_a_batch_is_read_again_for_itself(desk: Desk) -> None:
    stage = stage_of("adyen")
    await post(desk, stage, batch(desk, {**ITEMS[0], "merchantReference": ""}, ITEMS[1]))
    kept = (await desk.client.get("/events", params={"status": "unprocessable"})).json()["items"]
    assert [event["delivery_id"] for event in kept] == ["A.AUTHORISATION.true"]
    source = desk.app.state.context.settings.sources["adyen"]
    mended = replace(source, fields=replace(source.fields, order_id="pspReference"))
    context = desk.app.state.context
    settings = replace(context.settings, sources=MappingProxyType({"adyen": mended}))
    desk.app.take_deliveries(replace(context, settings=settings))
    answer = await desk.client.post(f"/events/{kept[0]['id']}/reprocess", json={})
    assert (answer.status_code, answer.json()["status"]) == (202, "accepted")
    assert sorted(operation["order_id"] for operation in await operations(desk)) == ["A", "order-1001"]


async def test_an_order_of_shopify_is_read_again_under_its_topic(desk: Desk) -> None:
    """The topic came in a header, which is gone by then."""
    stage = stage_of("shopify")
    await post(desk, stage, now(desk, stage, stage.with_(("name",), "")))
    [kept] = await events(desk)
    context = desk.app.state.context
    source = context.settings.sources["shopify"]
    mended = replace(source, fields=replace(source.fields, order_id="order_number"))
    settings = replace(context.settings, sources=MappingProxyType({"shopify": mended}))
    desk.app.take_deliveries(replace(context, settings=settings))
    answer = await desk.client.post(f"/events/{kept['id']}/reprocess", json={})
    assert (answer.status_code, answer.json()["status"]) == (202, "accepted")
