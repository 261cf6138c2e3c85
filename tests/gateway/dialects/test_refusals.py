"""What a body is refused for, in the words of the dialect that it came in: each field named once,
by the name that its caller gave it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.gateway.door.wire import JSON, Answer, call
from tests.gateway.serving import Served, serving
from understudy.gateway.upstreams.bounds import MOST_TOKENS

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
RESPONSES, MESSAGES = "/v1/responses", "/v1/messages"
TURNS = [{"role": "user", "content": "one"}]
VALID: dict[str, dict[str, Any]] = {
    CHAT: {"messages": TURNS},
    COMPLETIONS: {"prompt": "one"},
    RESPONSES: {"input": "one"},
    MESSAGES: {"messages": TURNS, "max_tokens": 5},
}


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving() as found:
        yield found


def post(served: Served, path: str, **fields: Any) -> Answer:
    body = {name: value for name, value in (VALID[path] | fields).items() if value != "missing"}
    return call(served, "POST", path, json.dumps(body).encode(), JSON)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (CHAT, "max_tokens"),
        (CHAT, "max_completion_tokens"),
        (COMPLETIONS, "max_tokens"),
        (RESPONSES, "max_output_tokens"),
        (MESSAGES, "max_tokens"),
    ],
)
def test_a_bound_of_an_answer_is_refused_by_the_name_that_it_came_with(
    served: Served, path: str, name: str
) -> None:
    assert post(served, path, **{name: MOST_TOKENS}).status == 200
    for value in (MOST_TOKENS + 1, 0, -1, 1e300, "x", True):
        answer = post(served, path, **{name: value})
        assert answer.status == 400
        message = answer.json["error"]["message"]
        assert message.startswith(f"{name}: ")
        assert message.count(name) == 1
        if path != MESSAGES:
            assert answer.json["error"]["param"] == name


@pytest.mark.parametrize(
    ("path", "fields", "message"),
    [
        (MESSAGES, {"max_tokens": "missing"}, "max_tokens is required"),
        (
            CHAT,
            {"response_format": {"type": "json_schema"}},
            "response_format: type json_schema needs json_schema",
        ),
        (CHAT, {"stream_options": {}}, "stream_options: needs stream=true"),
        (CHAT, {"top_logprobs": 2}, "top_logprobs: needs logprobs=true"),
        (CHAT, {"tool_choice": "required"}, "tool_choice: needs tools to choose from"),
        (MESSAGES, {"tool_choice": {"type": "any"}}, "tool_choice: needs tools to choose from"),
    ],
)
def test_a_field_is_named_once(
    served: Served, path: str, fields: dict[str, Any], message: str
) -> None:
    answer = post(served, path, **fields)
    assert (answer.status, answer.json["error"]["message"]) == (400, message)


def test_a_name_of_a_tool_is_refused_where_it_stands(served: Served) -> None:
    answer = post(served, RESPONSES, tools=[{"type": "function", "name": "f" * 129}])
    assert answer.json["error"]["param"] == "tools[0].name"


def test_no_choice_needs_no_tools(served: Served) -> None:
    for choice in (None, "auto", "none"):
        assert post(served, CHAT, tool_choice=choice).status == 200
