"""OpenAI's own Python client against the gateway, unchanged but for its base URL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.gateway.echo import MODEL
from tests.gateway.serving import Served, serving

TOOL: Any = {
    "type": "function",
    "function": {"name": "note", "parameters": {"type": "object", "properties": {}}},
}
ASKED: Any = [{"role": "user", "content": "one two three"}]


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving() as found:
        yield found


@pytest.fixture(scope="module")
def client(served: Served) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0, timeout=60)


def test_a_chat_completion(client: openai.OpenAI) -> None:
    found = client.chat.completions.create(model="auto", messages=ASKED)
    assert found.choices[0].message.content == "one two three"
    assert found.choices[0].finish_reason == "stop"
    assert found.model == MODEL
    assert found.usage is not None
    assert found.usage.total_tokens == 17


def test_the_headers_say_who_answered_and_why(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="auto", messages=ASKED, extra_headers={"x-request-id": "mine-1"}
    )
    assert raw.headers["x-request-id"] == "mine-1"
    assert raw.headers["x-understudy-answered-by"] == "local"
    assert raw.headers["x-understudy-why"] == "the local model is sure ?enough?"
    assert raw.headers["x-understudy-version"] == MODEL
    assert raw.headers["x-understudy-left"] == "dollars/day=4.25"
    assert raw.headers["x-content-type-options"] == "nosniff"
    assert raw.parse()._request_id == "mine-1"


def test_a_streamed_chat_completion(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(model="auto", messages=ASKED, stream=True)
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "one two three"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(chunk.usage is None for chunk in chunks)


def test_usage_comes_in_a_stream_where_it_was_asked_for(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="auto", messages=ASKED, stream=True, stream_options={"include_usage": True}
    )
    *_, last = stream
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens == 5


def test_several_answers_stops_lengths_and_log_probabilities(client: openai.OpenAI) -> None:
    found = client.chat.completions.create(
        model="auto",
        messages=ASKED,
        n=2,
        stop=[" three"],
        max_tokens=1,
        seed=1,
        logprobs=True,
        top_logprobs=1,
    )
    assert [choice.index for choice in found.choices] == [0, 1]
    assert found.choices[1].message.content == "one"
    assert found.choices[1].finish_reason == "length"
    logprobs = found.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert logprobs.content[0].token == "one"


def test_a_tool_is_called(client: openai.OpenAI) -> None:
    found = client.chat.completions.create(model="auto", messages=ASKED, tools=[TOOL])
    calls = found.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].type == "function"
    assert calls[0].function.name == "note"
    assert found.choices[0].finish_reason == "tool_calls"


def test_json_is_asked_for_by_a_schema(served: Served, client: openai.OpenAI) -> None:
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"a": 1}}}
    found = client.chat.completions.create(model="auto", messages=ASKED, response_format=wanted)
    assert found.choices[0].message.content == '{"text": "one two three"}'
    assert served.core.calls[-1][0].body["response_format"] == wanted


def test_unknown_fields_pass_untouched(served: Served, client: openai.OpenAI) -> None:
    client.chat.completions.create(
        model="auto", messages=ASKED, extra_body={"min_p": 0.1, "provider": {"order": ["a"]}}
    )
    request, _ = served.core.calls[-1]
    assert request.body["min_p"] == 0.1
    assert request.body["provider"] == {"order": ["a"]}
    assert request.raw is not None


def test_a_caller_says_how_it_wants_to_be_answered(served: Served, client: openai.OpenAI) -> None:
    client.chat.completions.create(
        model="cloud",
        messages=ASKED,
        metadata={"task": "pens"},
        extra_headers={
            "x-deadline-ms": "1500",
            "x-conversation-id": "talk-1",
            "x-understudy-insist": "true",
        },
    )
    _, caller = served.core.calls[-1]
    assert (caller.key, caller.deadline_ms, caller.conversation) == ("anonymous", 1500, "talk-1")
    assert caller.insist
    assert caller.task == "pens"


def test_a_refusal_is_the_clients_own_error(client: openai.OpenAI) -> None:
    asked: Any = [{"role": "user", "content": "refuse"}]
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="cloud", messages=asked)
    assert caught.value.type == "budget_exceeded"
    assert caught.value.code == "budget_exceeded"
    assert caught.value.response.headers["retry-after"] == "91"
    with pytest.raises(openai.RateLimitError):
        client.chat.completions.create(model="cloud", messages=asked, stream=True)


def test_a_stream_that_breaks_off_raises(client: openai.OpenAI) -> None:
    codes = {"break": "broken_stream", "crash": "internal_error", "spoil": None}
    for word, code in codes.items():
        asked: Any = [{"role": "user", "content": f"{word} it"}]
        stream = client.chat.completions.create(model="auto", messages=asked, stream=True)
        with pytest.raises(openai.APIError) as caught:
            list(stream)
        assert caught.value.code == code


def test_completions_that_break_off_raise(client: openai.OpenAI) -> None:
    stream = client.completions.create(model="auto", prompt="spoil it", stream=True)
    with pytest.raises(openai.APIError, match="the cloud failed"):
        list(stream)


def test_an_answer_of_a_cloud_passes_byte_for_byte(client: openai.OpenAI) -> None:
    asked: Any = [{"role": "user", "content": "raw"}]
    raw = client.chat.completions.with_raw_response.create(model="auto", messages=asked)
    assert raw.text.startswith('{\n   "id"')


def test_a_fault_is_told_without_its_words(client: openai.OpenAI) -> None:
    asked: Any = [{"role": "user", "content": "fail now"}]
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model="auto", messages=asked)
    assert "words" not in caught.value.message


def test_bad_values_are_refused_by_their_field(client: openai.OpenAI) -> None:
    bad: list[tuple[dict[str, Any], str]] = [
        ({"temperature": 3}, "temperature"),
        ({"n": 0}, "n"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": 1}]}]}, "messages[0].content[0].type"),
        ({"response_format": {"type": "yaml"}}, "response_format.type"),
        ({"tools": [{"type": "function"}]}, "tools[0]"),
        ({"stop": 5}, "stop"),
        ({"stop": ["a", ""]}, "stop[1]"),
    ]
    for extra, param in bad:
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(model="auto", messages=ASKED, extra_body=extra)
        assert caught.value.param == param, extra


def test_models_are_listed(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["auto", MODEL]
    assert client.models.retrieve(MODEL).owned_by == "understudy"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other")


def test_completions_of_several_prompts(client: openai.OpenAI) -> None:
    found = client.completions.create(model="auto", prompt=["a b", "c"], n=2, logprobs=1)
    assert [(each.index, each.text) for each in found.choices] == [
        (0, "a b"),
        (1, "a b"),
        (2, "c"),
        (3, "c"),
    ]
    assert found.usage is not None
    assert found.usage.total_tokens == 34
    logprobs = found.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.tokens == ["a", " b"]
    assert logprobs.text_offset == [0, 1]


def test_the_headers_of_several_prompts_are_of_all(client: openai.OpenAI) -> None:
    raw = client.completions.with_raw_response.create(model="auto", prompt=["a b", "c"])
    why = raw.headers["x-understudy-why"]
    assert why.startswith("2 questions, 2 of them answered by the local model; the first of these")


def test_streamed_completions(client: openai.OpenAI) -> None:
    stream = client.completions.create(model="auto", prompt=["a b", "c"], stream=True)
    texts = {0: "", 1: ""}
    for chunk in stream:
        texts[chunk.choices[0].index] += chunk.choices[0].text
    assert texts == {0: "a b", 1: "c"}


def test_what_completions_cannot_do_is_refused(client: openai.OpenAI) -> None:
    for extra, param in (({"echo": True}, "echo"), ({"suffix": "x"}, "suffix")):
        with pytest.raises(openai.BadRequestError) as caught:
            client.completions.create(model="auto", prompt="a", extra_body=extra)
        assert caught.value.param == param
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model="auto", prompt=[1, 2])
    assert caught.value.param == "prompt"


def test_embeddings_without_a_cloud_are_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="no cloud here makes embeddings"):
        client.embeddings.create(model="small", input="x")
