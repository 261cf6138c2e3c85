"""Official clients against `understudy serve` as it starts with no arguments."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest

from tests.gateway.served import Process, serving

EASY = "tom has 12 pens, buys 5. how many?"
HARD = "max has 41 cards, sells 13, finds 46, eats 4. how many?"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with serving(store=tmp_path_factory.mktemp("served") / "gateway.db") as found:
        yield found


@pytest.fixture
def client(served: Process) -> openai.OpenAI:
    return openai.OpenAI(base_url=served.url, api_key="none", max_retries=0, timeout=120)


@pytest.fixture
def claude(served: Process) -> anthropic.Anthropic:
    base = served.url.removesuffix("/v1")
    return anthropic.Anthropic(base_url=base, api_key="none", max_retries=0, timeout=120)


def asked(question: str) -> Any:
    return [{"role": "user", "content": question}]


def test_every_dialect_gives_the_same_answer(
    client: openai.OpenAI, claude: anthropic.Anthropic
) -> None:
    chat = client.chat.completions.create(model="auto", messages=asked(EASY))
    assert chat.model == "demo@0"
    answer = chat.choices[0].message.content
    response = client.responses.create(model="auto", input=EASY)
    message = claude.messages.create(model="auto", max_tokens=64, messages=asked(EASY))
    assert message.content[0].type == "text"
    assert answer == response.output_text == message.content[0].text
    assert message.stop_reason == "end_turn"
    assert response.usage is not None
    assert chat.usage is not None
    tokens = {chat.usage.completion_tokens, response.usage.output_tokens}
    assert tokens == {message.usage.output_tokens}


def test_every_dialect_streams_the_clouds_answer(
    client: openai.OpenAI, claude: anthropic.Anthropic
) -> None:
    raw = client.chat.completions.with_raw_response.create(model="auto", messages=asked(HARD))
    assert raw.headers["x-understudy-answered-by"] == "cloud"
    answer = raw.parse().choices[0].message.content
    chunks = client.chat.completions.create(model="auto", messages=asked(HARD), stream=True)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    with client.responses.stream(model="auto", input=HARD) as stream:
        stream.until_done()
        response = stream.get_final_response()
    with claude.messages.stream(model="auto", max_tokens=64, messages=asked(HARD)) as events:
        message = events.get_final_text()
    assert answer == text == response.output_text == message
    assert response.model == "simulated-cloud"


def test_plain_text_is_continued_with_its_log_probabilities(client: openai.OpenAI) -> None:
    (choice,) = client.completions.create(model="local", prompt=EASY, logprobs=1).choices
    assert choice.logprobs is not None
    assert choice.logprobs.tokens is not None
    assert "".join(choice.logprobs.tokens) == choice.text
    assert all(each <= 0 for each in choice.logprobs.token_logprobs or ())


def test_what_the_local_model_cannot_do_is_a_clear_refusal(client: openai.OpenAI) -> None:
    tool: Any = {"type": "function", "function": {"name": "f", "parameters": {}}}
    with pytest.raises(openai.BadRequestError, match="knows no tools"):
        client.chat.completions.create(model="local", messages=asked(EASY), tools=[tool])
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="no-such-model", messages=asked(EASY))


def test_what_nobody_here_can_answer_is_no_outage_and_has_an_example(
    client: openai.OpenAI,
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="auto", messages=asked("hello"))
    assert caught.value.code == "unknown_question"
    assert "such as 'Tom has 12 pens, buys 5. how many?'" in caught.value.message
    assert "--local or --cloud" in caught.value.message
    assert ".md" not in caught.value.message


def test_the_ids_of_every_dialect_are_found_and_judged(
    served: Process, client: openai.OpenAI, claude: anthropic.Anthropic
) -> None:
    response = client.responses.create(model="auto", input=EASY, store=True)
    message = claude.messages.create(model="auto", max_tokens=64, messages=asked(EASY))
    assert (response.id[:5], message.id[:4]) == ("resp_", "msg_")
    judge(served, response.id)
    judge(served, message.id)
    assert client.chat.completions.retrieve(response.id).choices


def test_what_was_stored_is_found_and_judged(served: Process, client: openai.OpenAI) -> None:
    found = client.chat.completions.create(
        model="auto", messages=asked(EASY), store=True, metadata={"topic": "pens"}
    )
    (kept,) = client.chat.completions.list(metadata={"topic": "pens"})
    assert kept.id == found.id
    (message,) = client.chat.completions.messages.list(found.id)
    assert message.content == EASY
    judge(served, found.id)


def judge(served: Process, answer: str) -> None:
    body = {"inference_id": answer, "metric_name": "right", "value": True}
    request = urllib.request.Request(
        served.url.removesuffix("/v1") + "/feedback",
        json.dumps(body).encode(),
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        assert json.load(answer)["feedback_id"].startswith("fb_")
