"""OpenAI's own client asks for responses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.gateway.echo import MODEL
from tests.gateway.serving import Served, serving

TOOL: Any = {"type": "function", "name": "note", "parameters": {"type": "object"}, "strict": False}


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving() as found:
        yield found


@pytest.fixture(scope="module")
def client(served: Served) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0, timeout=60)


def test_a_response(served: Served, client: openai.OpenAI) -> None:
    found = client.responses.create(
        model="auto", input="one two", instructions="Repeat.", max_output_tokens=1
    )
    assert found.output_text == "one"
    assert found.status == "incomplete"
    assert found.incomplete_details is not None
    assert found.incomplete_details.reason == "max_output_tokens"
    assert found.model == MODEL
    assert found.usage is not None
    assert found.usage.input_tokens_details.cached_tokens == 8
    request, _ = served.core.calls[-1]
    assert [message["role"] for message in request.messages] == ["system", "user"]
    assert request.max_tokens == 1


def test_who_asks_stays_out_of_the_question(served: Served, client: openai.OpenAI) -> None:
    """Codex says which of its installations asks; no chat completion has a field for that."""
    client.responses.create(
        model="auto", input="one", extra_body={"client_metadata": {"installation": "a"}, "odd": 1}
    )
    request, _ = served.core.calls[-1]
    assert "client_metadata" not in request.body
    assert request.body["odd"] == 1


def test_a_conversation_with_a_tool(served: Served, client: openai.OpenAI) -> None:
    asked: list[Any] = [{"role": "user", "content": [{"type": "input_text", "text": "one"}]}]
    first = client.responses.create(model="auto", input=asked, tools=[TOOL])
    call = first.output[0]
    assert call.type == "function_call"
    assert call.arguments == '{"text": "one"}'
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "noted"}
    second = client.responses.create(
        model="auto", input=[*asked, *first.output, result], tools=[TOOL]
    )
    assert second.output_text == "noted"
    request, _ = served.core.calls[-1]
    assert [message["role"] for message in request.messages] == ["user", "assistant", "tool"]
    assert request.messages[1]["tool_calls"][0]["id"] == call.call_id


def test_a_streamed_response(client: openai.OpenAI) -> None:
    with client.responses.stream(model="auto", input="one two three") as stream:
        kinds = [event.type for event in stream]
        whole = stream.get_final_response()
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds.count("response.output_text.delta") == 3
    assert kinds[-1] == "response.completed"
    assert whole.output_text == "one two three"
    assert whole.usage is not None
    assert whole.usage.total_tokens == 17


def test_a_draft_that_is_shown_is_reasoning(client: openai.OpenAI) -> None:
    with client.responses.stream(model="auto", input="doubt it") as stream:
        kinds = [event.type for event in stream]
        whole = stream.get_final_response()
    assert "response.reasoning_text.delta" in kinds
    assert [item.type for item in whole.output] == ["reasoning", "message"]
    assert whole.output_text == "doubt it"


def test_the_events_of_a_stream_are_numbered(client: openai.OpenAI) -> None:
    stream = client.responses.create(model="auto", input="one two", stream=True)
    assert [event.sequence_number for event in stream] == list(range(10))


def test_a_streamed_call_of_a_tool(client: openai.OpenAI) -> None:
    with client.responses.stream(model="auto", input="one", tools=[TOOL]) as stream:
        for _ in stream:
            pass
        call = stream.get_final_response().output[0]
    assert call.type == "function_call"
    assert (call.name, call.arguments) == ("note", '{"text": "one"}')


def test_log_probabilities(client: openai.OpenAI) -> None:
    found = client.responses.create(
        model="auto", input="one two", include=["message.output_text.logprobs"], top_logprobs=1
    )
    part = found.output[0].content[0]  # type: ignore[union-attr, index]
    assert [each.token for each in part.logprobs] == ["one", " two"]  # type: ignore[union-attr]


def test_json_by_a_schema(served: Served, client: openai.OpenAI) -> None:
    form: Any = {"type": "json_schema", "name": "a", "schema": {"type": "object"}, "strict": True}
    client.responses.create(model="auto", input="one", text={"format": form})
    request, _ = served.core.calls[-1]
    assert request.body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "a", "schema": {"type": "object"}, "strict": True},
    }


def test_what_only_responses_know_stays_behind_and_the_rest_goes_on(
    served: Served, client: openai.OpenAI
) -> None:
    client.responses.create(
        model="auto",
        input="one",
        truncation="auto",
        text={"verbosity": "low"},
        reasoning={"effort": "low"},
        prompt_cache_key="a",
        extra_body={"min_p": 0.1},
    )
    body = dict(served.core.calls[-1][0].body)
    assert body.pop("messages") == [{"role": "user", "content": "one"}]
    assert body == {
        "model": "auto",
        "verbosity": "low",
        "reasoning_effort": "low",
        "prompt_cache_key": "a",
        "min_p": 0.1,
    }


def test_an_image(served: Served, client: openai.OpenAI) -> None:
    parts: Any = [
        {"type": "input_text", "text": "what?"},
        {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"},
    ]
    client.responses.create(model="auto", input=[{"role": "user", "content": parts}])
    request, _ = served.core.calls[-1]
    assert request.messages[0]["content"][1] == {
        "type": "image_url",
        "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"},
    }


@pytest.mark.parametrize(
    ("extra", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"background": True}, "background"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
        ({"input": [{"role": "user", "content": 4}]}, "input[0].content"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
    ],
)
def test_what_cannot_be_done_is_refused(
    client: openai.OpenAI, extra: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="auto", input="x", extra_body=extra)
    assert caught.value.param == param


def test_a_stream_that_breaks_off_ends_with_an_error(client: openai.OpenAI) -> None:
    said = {"break": "the cloud hung up", "spoil": "the cloud failed: no reason given"}
    for word, message in said.items():
        *events, last = client.responses.create(model="auto", input=f"{word} it", stream=True)
        assert last.type == "error"
        assert last.message == message
        assert "response.completed" not in [event.type for event in events]
