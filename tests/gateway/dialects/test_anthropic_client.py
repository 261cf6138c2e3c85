"""Anthropic's own Python client against the gateway."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from tests.gateway.echo import MODEL
from tests.gateway.serving import Served, serving
from understudy.gateway.dialects.message_events import MessageWriter
from understudy.gateway.dialects.messages import Messages
from understudy.gateway.engine import Written
from understudy.gateway.requests import Decision, Outcome
from understudy.gateway.writing import Writing, choice_of

TOOL: Any = {"name": "note", "description": "notes", "input_schema": {"type": "object"}}
ASKED: Any = [{"role": "user", "content": "one two three"}]


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving() as found:
        yield found


@pytest.fixture(scope="module")
def client(served: Served) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=served.url, api_key="none", max_retries=0, timeout=60)


def test_a_message(served: Served, client: anthropic.Anthropic) -> None:
    found = client.messages.create(
        model="auto",
        max_tokens=2,
        system=[{"type": "text", "text": "Repeat."}],
        messages=ASKED,
        metadata={"user_id": "u1"},
        extra_headers={"x-request-id": "mine"},
    )
    assert found.content[0].type == "text"
    assert found.content[0].text == "one two"
    assert found.stop_reason == "max_tokens"
    assert found.model == MODEL
    assert (found.usage.input_tokens, found.usage.cache_read_input_tokens) == (4, 8)
    assert found.usage.output_tokens == 5
    assert found._request_id == "mine"
    request, caller = served.core.calls[-1]
    assert caller.request_id == "mine"
    assert request.messages[0] == {"role": "system", "content": "Repeat."}
    assert request.body["user"] == "u1"


def test_a_streamed_message(client: anthropic.Anthropic) -> None:
    with client.messages.stream(model="auto", max_tokens=9, messages=ASKED) as stream:
        texts = list(stream.text_stream)
        whole = stream.get_final_message()
    assert texts == ["one", " two", " three"]
    assert whole.stop_reason == "end_turn"
    assert whole.usage.output_tokens == 5
    assert whole.usage.input_tokens == 4
    assert whole.id == "msg_1"


def test_a_draft_that_is_shown_is_a_thought(client: anthropic.Anthropic) -> None:
    asked: Any = [{"role": "user", "content": "doubt it"}]
    with client.messages.stream(model="auto", max_tokens=9, messages=asked) as stream:
        thought, text = stream.get_final_message().content
    assert thought.type == "thinking"
    assert thought.thinking == "perhaps 4"
    assert text.type == "text"
    assert text.text == "doubt it"


def test_a_stream_begins_with_an_estimate_and_ends_with_the_count(
    client: anthropic.Anthropic,
) -> None:
    stream = client.messages.create(model="auto", max_tokens=9, messages=ASKED, stream=True)
    events = list(stream)
    assert events[0].type == "message_start"
    estimate = client.messages.count_tokens(model="auto", messages=ASKED).input_tokens
    assert events[0].message.usage.input_tokens == estimate > 4
    assert events[-2].type == "message_delta"
    assert events[-2].usage.input_tokens == 4


def test_the_string_that_ended_an_answer_is_told_in_a_stream_and_whole() -> None:
    written = Written("so", "stop", 3, 0, 2, "tiny@1", stop="x")
    writing = Writing("tiny@1")
    writer = MessageWriter("tiny@1", 3)
    chunks = [writing.piece("so"), writing.finish("stop", stop=written.stop)]
    events = [*(e for chunk in chunks for e in writer.feed(chunk)), *writer.end()]
    assert b'"stop_reason":"stop_sequence","stop_sequence":"x"' in events[-2]
    choices = [choice_of(written.text, "stop", stop=written.stop)]
    whole = Outcome(Decision("local", "", "tiny@1"), writing.completion(choices, {}))
    body = {"max_tokens": 5, "messages": ASKED, "stop_sequences": ["x"]}
    message = Messages(body, b"").whole([whole])
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", "x")


def test_the_events_come_in_order(client: anthropic.Anthropic) -> None:
    asked: Any = [{"role": "user", "content": "one"}]
    stream = client.messages.create(model="auto", max_tokens=9, messages=asked, stream=True)
    assert [event.type for event in stream] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


def test_a_conversation_with_a_tool(served: Served, client: anthropic.Anthropic) -> None:
    given: Any = {"model": "auto", "max_tokens": 9, "tools": [TOOL]}
    first = client.messages.create(messages=ASKED, tool_choice={"type": "any"}, **given)
    call = first.content[0]
    assert call.type == "tool_use"
    assert call.input == {"text": "one two three"}
    assert first.stop_reason == "tool_use"
    assert served.core.calls[-1][0].body["tool_choice"] == "required"
    turns: Any = [
        *ASKED,
        {"role": "assistant", "content": first.content},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": call.id, "content": "noted"},
            ],
        },
    ]
    second = client.messages.create(messages=turns, **given)
    assert second.content[0].type == "text"
    assert second.content[0].text == "noted"
    request, _ = served.core.calls[-1]
    assert [message["role"] for message in request.messages] == ["user", "assistant", "tool"]
    assert request.messages[1]["tool_calls"][0]["id"] == call.id


def test_a_streamed_call_of_a_tool(client: anthropic.Anthropic) -> None:
    with client.messages.stream(model="auto", max_tokens=9, messages=ASKED, tools=[TOOL]) as stream:
        call = stream.get_final_message().content[0]
    assert call.type == "tool_use"
    assert call.input == {"text": "one two three"}


def test_images_and_stops(served: Served, client: anthropic.Anthropic) -> None:
    image: Any = {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": "AA=="},
    }
    content = [{"type": "text", "text": "what?"}, image]
    turns: Any = [{"role": "user", "content": content}]
    client.messages.create(model="auto", max_tokens=9, messages=turns, stop_sequences=["!"])
    request, _ = served.core.calls[-1]
    assert request.body["stop"] == ["!"]
    part = request.messages[0]["content"][1]
    assert part == {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}


def test_what_only_anthropic_knows_stays_behind_and_the_rest_goes_on(
    served: Served, client: anthropic.Anthropic
) -> None:
    form: Any = {"type": "json_schema", "schema": {"type": "object"}}
    client.beta.messages.create(
        model="auto",
        max_tokens=9,
        messages=ASKED,
        thinking={"type": "adaptive"},
        output_config={"format": form, "effort": "low"},
        cache_control={"type": "ephemeral"},
        extra_body={"min_p": 0.1},
    )
    body = served.core.calls[-1][0].body
    assert set(body) == {"model", "messages", "max_tokens", "response_format", "min_p"}
    assert body["response_format"]["json_schema"]["schema"] == {"type": "object"}


def test_tokens_are_counted_about(client: anthropic.Anthropic) -> None:
    short = client.messages.count_tokens(model="auto", messages=ASKED).input_tokens
    more: Any = [{"role": "user", "content": "one two three " * 100}]
    assert 3 < short < client.messages.count_tokens(model="auto", messages=more).input_tokens


def test_models_are_listed(client: anthropic.Anthropic) -> None:
    assert [model.id for model in client.models.list()] == ["auto", MODEL]


def test_a_refusal_is_the_clients_own_error(client: anthropic.Anthropic) -> None:
    asked: Any = [{"role": "user", "content": "refuse"}]
    with pytest.raises(anthropic.RateLimitError) as caught:
        client.messages.create(model="auto", max_tokens=9, messages=asked)
    body: Any = caught.value.body
    assert body["error"]["type"] == "rate_limit_error"
    assert body["error"]["code"] == "budget_exceeded"
    assert body["request_id"]


def test_a_long_wait_is_not_slept_through(served: Served) -> None:
    """Its own client sleeps as long as retry-after says, unless it is told not to."""
    patient = anthropic.Anthropic(base_url=served.url, api_key="none", max_retries=2, timeout=60)
    asked: Any = [{"role": "user", "content": "refuse"}]
    before = len(served.core.calls)
    with pytest.raises(anthropic.RateLimitError) as caught:
        patient.messages.create(model="auto", max_tokens=9, messages=asked)
    assert len(served.core.calls) == before + 1
    assert caught.value.response.headers["retry-after"] == "91"
    assert caught.value.response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("word", ["break", "spoil"])
def test_a_stream_that_breaks_off_raises(client: anthropic.Anthropic, word: str) -> None:
    asked: Any = [{"role": "user", "content": f"{word} it"}]
    with (
        pytest.raises(anthropic.APIStatusError, match="the cloud"),
        client.messages.stream(model="auto", max_tokens=9, messages=asked) as stream,
    ):
        stream.until_done()


@pytest.mark.parametrize(
    ("extra", "param"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": [{"role": "user", "content": [{"type": "document"}]}]}, "messages[0]"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"mcp_servers": [{"name": "x"}]}, "mcp_servers"),
        ({"stop_sequences": "x"}, "stop_sequences"),
    ],
)
def test_what_cannot_be_done_is_refused(
    client: anthropic.Anthropic, extra: dict[str, Any], param: str
) -> None:
    with pytest.raises(anthropic.BadRequestError, match="invalid_request_error") as caught:
        client.messages.create(model="auto", max_tokens=9, messages=ASKED, extra_body=extra)
    assert param in caught.value.message
