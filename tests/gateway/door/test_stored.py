"""Stored completions and feedback, over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from sqlalchemy import select

from tests.gateway.door.wire import JSON, Answer, call
from tests.gateway.kept import Kept, kept
from tests.gateway.serving import Served, serving
from understudy.store.tables import feedback


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Kept]:
    with kept(tmp_path) as found:
        yield found


@pytest.fixture
def served(store: Kept) -> Iterator[Served]:
    with serving(**store.parts) as found:
        yield found


@pytest.fixture
def client(served: Served, store: Kept) -> openai.OpenAI:
    return client_of(served, store.secrets["first"])


def client_of(served: Served, key: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{served.url}/v1", api_key=key, max_retries=0, timeout=60)


def test_a_key_lists_its_own_page_by_page(
    served: Served, store: Kept, client: openai.OpenAI
) -> None:
    page = client.chat.completions.list(limit=3)
    assert [each.id for each in page.data] == ["chatcmpl-0", "chatcmpl-1", "chatcmpl-2"]
    assert [each.id for each in page] == [f"chatcmpl-{number}" for number in range(4)]
    odd = client.chat.completions.list(metadata={"parity": "odd"}, order="desc")
    assert [each.id for each in odd] == ["chatcmpl-3", "chatcmpl-1"]
    assert len(list(client_of(served, store.secrets["root"]).chat.completions.list())) == 5


def test_one_is_read_changed_and_deleted(client: openai.OpenAI) -> None:
    assert client.chat.completions.retrieve("chatcmpl-1").model == "echo@7"
    (message,) = client.chat.completions.messages.list("chatcmpl-1")
    assert (message.id, message.content) == ("chatcmpl-1-0", "one two")
    changed = client.chat.completions.update("chatcmpl-1", metadata={"a": "b"})
    assert changed.metadata == {"a": "b"}  # type: ignore[attr-defined]
    assert client.chat.completions.delete("chatcmpl-1").deleted
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.retrieve("chatcmpl-1")


def test_another_keys_is_not_there(served: Served, store: Kept) -> None:
    client = client_of(served, store.secrets["second"])
    for refused in (
        lambda: client.chat.completions.retrieve("chatcmpl-1"),
        lambda: client.chat.completions.delete("chatcmpl-1"),
        lambda: client.chat.completions.update("chatcmpl-1", metadata={}),
        lambda: list(client.chat.completions.messages.list("chatcmpl-1")),
    ):
        with pytest.raises(openai.NotFoundError):
            refused()


def give(served: Served, store: Kept, body: dict[str, Any], path: str = "/feedback") -> Answer:
    headers = JSON | {"authorization": f"Bearer {store.secrets['first']}"}
    return call(served, "POST", path, json.dumps(body).encode(), headers)


def judgements(store: Kept) -> list[Any]:
    with store.database.reading() as connection:
        return list(connection.execute(select(feedback)))


@pytest.mark.parametrize(
    ("body", "metric", "value"),
    [
        ({"inference_id": "chatcmpl-1", "metric_name": "right", "value": True}, "right", True),
        ({"traceId": "chatcmpl-1", "name": "stars", "value": 4, "comment": "ok"}, "stars", 4),
        ({"inference_id": "chatcmpl-1", "verdict": "underpowered"}, "verdict", 0.0),
        ({"inference_id": "chatcmpl-1", "verdict": "good_fit"}, "verdict", 1.0),
        ({"episode_id": "talk", "metric_name": "comment", "value": "good"}, "comment", "good"),
        (
            {
                "inference_id": "chatcmpl-1",
                "metric_name": "demonstration",
                "value": [{"type": "text", "text": "4"}],
            },
            "demonstration",
            "4",
        ),
    ],
)
def test_feedback_in_any_of_its_shapes(
    served: Served, store: Kept, body: dict[str, Any], metric: str, value: Any
) -> None:
    answer = give(served, store, body)
    assert answer.status == 200, answer.content
    (given,) = judgements(store)
    assert (given.metric, given.value, given.key) == (metric, value, store.ids["first"])
    assert answer.json["feedback_id"] == given.id
    assert given.comment == body.get("comment", "")


def test_langfuses_own_path_is_answered_too(served: Served, store: Kept) -> None:
    body = {"id": "mine", "traceId": "chatcmpl-1", "name": "stars", "value": 4}
    assert give(served, store, body, "/api/public/scores").json["id"] == "mine"


def test_a_dry_run_keeps_nothing(served: Served, store: Kept) -> None:
    body = {"inference_id": "x", "metric_name": "right", "value": True, "dryrun": True}
    assert give(served, store, body).status == 200
    assert judgements(store) == []


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"metric_name": "right", "value": True}, 400, "give one of inference_id"),
        ({"inference_id": "a", "episode_id": "b", "metric_name": "m", "value": 1}, 400, "give one"),
        ({"inference_id": "a", "value": 1}, 400, "metric_name and value"),
        ({"inference_id": "a", "metric_name": "comment", "value": 1}, 400, "comment is a text"),
        ({"inference_id": "a", "verdict": "great"}, 400, "verdict"),
        ({"inference_id": "other", "metric_name": "m", "value": 1}, 404, "no answer 'other'"),
    ],
)
def test_feedback_that_says_nothing_is_refused(
    served: Served, store: Kept, body: dict[str, Any], status: int, words: str
) -> None:
    answer = give(served, store, body)
    assert answer.status == status
    assert words in answer.json["error"]["message"]
