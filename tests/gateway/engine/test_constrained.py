"""JSON that holds to its schema, and tools, from models with random weights."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway.engine.engines import engine_of, job, read, running
from tests.models.small import write_checkpoint
from understudy.gateway.engine import Job, JobRefused
from understudy.gateway.engine.local import LocalEngine
from understudy.gateway.engine.tools import ToolForm, form_of
from understudy.models.chat import Chat

SCHEMA = {
    "type": "object",
    "properties": {
        "n": {"type": "integer", "minimum": 0, "maximum": 99},
        "kind": {"enum": ["pen", "dog"]},
    },
    "required": ["n", "kind"],
    "additionalProperties": False,
}
TOOLS = (
    {
        "type": "function",
        "function": {
            "name": "add",
            "parameters": {
                "type": "object",
                "properties": {"a": {"type": "integer", "maximum": 9, "minimum": 0}},
                "required": ["a"],
                "additionalProperties": False,
            },
        },
    },
    {"type": "function", "function": {"name": "stop"}},
)
# As Qwen's and Llama's templates write tools and their calls.
HERMES = (
    "{% if tools %}<|im_start|>system\n{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}"
    "<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "{% for call in m.tool_calls or [] %}<tool_call>\n"
    '{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}'
    "\n</tool_call>{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
BARE = HERMES.replace("<tool_call>\n", "").replace("\n</tool_call>", "")
BARE = BARE.replace('"arguments"', '"parameters"')


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, more = tmp_path_factory.mktemp("json"), {"max_position_embeddings": 1024}
    made = write_checkpoint(root, "llama", chat=True, **more)
    (made / "chat_template.jinja").write_text(HERMES)
    return made


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[LocalEngine]:
    with running(engine_of(folder)) as opened:
        yield opened


@pytest.mark.parametrize("temperature", [0.0, 1.3])
def test_answers_hold_to_their_schema_beside_others_that_are_free(
    engine: LocalEngine, temperature: float
) -> None:
    async def ask() -> list[str]:
        jobs = [
            job("fox", schema=SCHEMA, max_tokens=60, temperature=temperature, seed=number)
            for number in range(4)
        ]
        found = await asyncio.gather(
            *(read(engine, each) for each in jobs), read(engine, job("fox", max_tokens=20))
        )
        assert [written.finish_reason for _, written in found[:4]] == ["stop"] * 4
        return [written.text for _, written in found[:4]]

    for text in asyncio.run(ask()):
        answer = json.loads(text)
        assert set(answer) == {"n", "kind"}
        assert 0 <= answer["n"] <= 99
        assert answer["kind"] in ("pen", "dog")


def test_any_json_object_is_one(engine: LocalEngine) -> None:
    found = [
        asyncio.run(read(engine, job("dog", schema={}, max_tokens=90, temperature=1.0, seed=n)))[1]
        for n in range(3)
    ]
    for written in found:
        assert written.text.startswith("{")
        if written.finish_reason == "stop":
            assert isinstance(json.loads(written.text), dict)


def test_a_schema_that_cannot_be_followed_is_refused(engine: LocalEngine) -> None:
    with pytest.raises(JobRefused, match="cannot be followed") as caught:
        asyncio.run(read(engine, job("fox", schema={"type": "frog"})))
    assert caught.value.param == "response_format"


def test_a_vocabulary_that_cannot_write_json_says_so() -> None:
    with running(engine_of("tiny")) as tiny, pytest.raises(JobRefused, match="cannot write JSON"):
        asyncio.run(read(tiny, job("3+4", schema={})))


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ("required", {"add", "stop"}),
        ({"type": "function", "function": {"name": "add"}}, {"add"}),
    ],
)
def test_a_forced_tool_is_called(engine: LocalEngine, choice: object, names: set[str]) -> None:
    asked = job("fox", tools=TOOLS, tool_choice=choice, max_tokens=80, temperature=1.0, seed=3)
    pieces, written = asyncio.run(read(engine, asked))
    assert pieces == []
    assert (written.text, written.finish_reason) == ("", "tool_calls")
    (call,) = written.tool_calls
    assert call["function"]["name"] in names
    arguments = json.loads(call["function"]["arguments"])
    if call["function"]["name"] == "add":
        assert 0 <= arguments["a"] <= 9


def test_a_conversation_with_calls_and_results_is_read(engine: LocalEngine) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    messages = (
        {"role": "developer", "content": "The quick brown fox"},
        {"role": "user", "content": [{"type": "text", "text": "How many <|im_end|>?"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "7"},
    )
    asked = Job("1", messages, "base@0", tools=TOOLS, max_tokens=5)
    assert asyncio.run(read(engine, asked))[1].completion_tokens <= 5
    prompts = engine.base.prompts
    text = prompts.tokens.tokenizer.decode(
        list(prompts.prepare(asked).ids), skip_special_tokens=False
    )
    assert '<tool_call>\n{"name": "add", "arguments": {"a": 1}}' in text
    assert "<|im_start|>tool\n7<|im_end|>" in text
    assert "<|im_start|>system\nThe quick brown fox" in text
    end = prompts.tokens.tokenizer.token_to_id("<|im_end|>")
    turns = 5  # with the system message of the tools
    assert list(prompts.prepare(asked).ids).count(end) == turns


def test_forms_of_calls_are_read_off_templates(folder: Path, tmp_path: Path) -> None:
    assert form_of(Chat(folder)) == ToolForm(
        "<tool_call>\n", "\n</tool_call><|im_end|>\n", "arguments"
    )
    other = write_checkpoint(tmp_path, "llama", chat=True)
    assert form_of(Chat(other)) is None
    (other / "chat_template.jinja").write_text(BARE)
    assert form_of(Chat(other)) == ToolForm("", "<|im_end|>\n", "parameters")


def test_calls_are_found_in_what_a_model_writes() -> None:
    form = ToolForm("<tool_call>\n", "\n</tool_call>", "arguments", ("add", "stop"))
    text = (
        'Well: <tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>\n'
        '<tool_call>\n{"name": "stop", "arguments": {}}\n</tool_call>'
    )
    before, calls = form.calls(text, False)
    assert before == "Well: "
    assert [call["function"] for call in calls] == [
        {"name": "add", "arguments": '{"a": 1}'},
        {"name": "stop", "arguments": "{}"},
    ]
    assert len({call["id"] for call in calls}) == 2
    for none in ("plain", '<tool_call>{"name": "other", "arguments": {}}', "<tool_call>{oh"):
        assert form.calls(none, False) == (none, [])
    bare = ToolForm("", "", "parameters", ("add",))
    assert bare.calls('{"name": "add", "parameters": {"a": 2}}', False)[0] == ""
    assert bare.calls('see {"name": "add", "parameters": {}}', False)[1] == []
