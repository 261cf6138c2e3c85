"""Questions that come no further than the door are counted too, and leave an event where a key is
known."""

from __future__ import annotations

import asyncio
from pathlib import Path

from sqlalchemy import select

from tests.gateway.door.wire import CHAT, JSON, call, chat_body
from tests.gateway.kept import kept
from tests.gateway.serving import serving
from tests.gateway.test_metrics import asked_for, samples
from understudy.gateway.assembly import Assembly
from understudy.gateway.settings import ServeSettings
from understudy.settings import check_settings
from understudy.store.tables import events

CLOUD = {
    "base_url": "http://127.0.0.1:9/v1",
    "model": "m",
    "prices": {"prompt": 0, "completion": 0},
}


def test_refusals_of_the_door_are_counted_with_the_others(tmp_path: Path) -> None:
    given = {
        "local": {"path": "none"},
        "clouds": {"c0": CLOUD},
        "store": {"url": str(tmp_path / "g.db")},
    }
    assembly = Assembly(check_settings(ServeSettings, given), lambda text: None)
    settings = {"max_body_bytes": 4096}
    with (
        kept(tmp_path) as store,
        serving(settings, **store.parts, finished=assembly._finished) as served,
    ):
        headers = JSON | {"authorization": f"Bearer {store.secrets['first']}"}
        assert call(served, "POST", CHAT, b"{", headers).status == 400
        assert call(served, "POST", "/v1/messages", b"{}", headers).status == 400
        assert call(served, "POST", CHAT, b" " * 5000, headers).status == 413
        assert call(served, "POST", CHAT, b"{}", headers | {"content-type": "x/y"}).status == 415
        assert call(served, "POST", "/v1/embeddings", b"{}", headers).status == 400
        assert call(served, "POST", CHAT, chat_body(), JSON).status == 401
        # These are no questions, or the core tells of them.
        assert call(served, "GET", "/v1/models", headers=JSON).status == 401
        assert call(served, "POST", "/feedback", b"{", headers).status == 400
        assert call(served, "POST", CHAT, chat_body("refuse"), headers).status == 429
        assert call(served, "POST", CHAT, chat_body(), headers).status == 200
        key = store.ids["first"]
    assembly.writer.close()
    found = samples(asyncio.run(assembly.metrics.page())[0])
    assert asked_for(found, "requests_total", answered_by="refused") == 6
    by_status = {"400": 3, "401": 1, "413": 1, "415": 1}
    for status, count in by_status.items():
        assert asked_for(found, "refused_total", status=status) == count
    with assembly.events_database.reading() as connection:
        rows = connection.execute(select(events).order_by(events.c.at)).all()
    assert [row.status for row in rows] == [400, 400, 413, 415, 400]
    assert {(row.key, row.answered_by, row.asked) for row in rows} == {(key, "refused", False)}
    assert rows[0].why.startswith("the body is not valid JSON")
    assert rows[1].why.endswith("is required")
