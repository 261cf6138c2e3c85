"""Whatever is sent, the gateway answers, never with a fault of its own, and goes on."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.gateway.door.wire import CHAT, JSON, ask, call, chat_body, connect, head
from tests.gateway.kept import kept
from tests.gateway.serving import Served, eventually, serving

PATHS = [
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/embeddings",
    "/feedback",
    "/v1/chat/completions/chatcmpl-1",
]

CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}

# Fields of chat completions, which other dialects pass on.
CHATS_OWN: dict[str, Any] = {
    "n": 1,
    "stop": ["x"],
    "max_completion_tokens": 5,
    "response_format": {"type": "json_object"},
}

VALID: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        "model": "auto",
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "x"}]},
            {"role": "assistant", "tool_calls": [CALL]},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}},
        "stream": True,
        "stream_options": {"include_usage": True},
        "metadata": {"a": "b"},
    },
    "/v1/completions": {"prompt": ["a", "b"], "logprobs": 2, **CHATS_OWN},
    "/v1/responses": {
        "model": "auto",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "x"}]},
            {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "a", "output": "x"},
            {"type": "reasoning", "id": "r", "summary": []},
        ],
        "text": {"format": {"type": "json_schema", "name": "a", "schema": {}}},
        "tools": [{"type": "function", "name": "f", "parameters": {}}],
        "reasoning": {"effort": "low"},
        **CHATS_OWN,
    },
    "/v1/messages": {
        "max_tokens": 5,
        "system": [{"type": "text", "text": "x"}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "x"}]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f"}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a"}]},
        ],
        "tools": [{"name": "f", "input_schema": {}}],
        "tool_choice": {"type": "tool", "name": "f"},
        "output_config": {"format": {"type": "json_schema", "schema": {}}},
        "metadata": {"user_id": "u"},
        **CHATS_OWN,
    },
    "/v1/embeddings": {"model": "m", "input": ["a"]},
    "/feedback": {
        "inference_id": "chatcmpl-1",
        "metric_name": "demonstration",
        "value": [{"text": "x"}],
    },
}

ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
    st.just([]),
    st.just({}),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.sampled_from(["type", "role", "content", "name"]), st.text(max_size=3)),
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with (
        kept(tmp_path_factory.mktemp("kept")) as store,
        serving({"body_seconds": 5}, events=store.events) as found,
    ):
        yield found


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value within."""
    yield path
    if isinstance(value, dict):
        for name, each in value.items():
            yield from places(each, (*path, name))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from places(each, (*path, number))


def with_value(body: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copy = json.loads(json.dumps(body))
    inner = copy
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = value
    return copy


def test_what_is_spoilt_here_is_valid_at_first(served: Served) -> None:
    for path, body in VALID.items():
        answer = call(served, "POST", path, json.dumps(body).encode(), JSON)
        expected = 404 if path == "/v1/embeddings" else 200  # no cloud here makes embeddings
        assert answer.status == expected, (path, answer.content)


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_any_value_anywhere_is_answered(served: Served, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(VALID)))
    where = data.draw(st.sampled_from(list(places(VALID[path]))))
    body = with_value(VALID[path], where, data.draw(ODD))
    answer = call(served, "POST", path, json.dumps(body).encode(), JSON)
    assert answer.status < 500, (path, where, body, answer.content)


@pytest.mark.parametrize("value", ["x", [1], {}, 0, 129, True])
def test_a_count_of_answers_is_a_number(served: Served, value: Any) -> None:
    for path in ("/v1/chat/completions", "/v1/completions"):
        body = json.dumps({**VALID[path], "best_of": value}).encode()
        answer = call(served, "POST", path, body, JSON)
        assert (answer.status, answer.json["error"]["param"]) == (400, "best_of")


@pytest.mark.parametrize("value", ["0" * 11 + "1" + "9" * 4400, "0" * 11 + "1" * 400, "0", "-1"])
def test_a_deadline_is_a_number(served: Served, value: str) -> None:
    answer = call(served, "POST", CHAT, chat_body(), JSON | {"x-deadline-ms": value})
    assert (answer.status, answer.json["error"]["param"]) == (400, "x-deadline-ms")
    answer = call(served, "GET", f"{CHAT}?limit=00001{'0' * 5000}")
    assert (answer.status, answer.json["error"]["param"]) == (400, "limit")


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(PATHS), st.binary(max_size=64))
def test_any_bytes_are_answered(served: Served, path: str, body: bytes) -> None:
    assert 400 <= call(served, "POST", path, body, JSON).status < 500


def test_requests_and_answers_that_are_cut_anywhere_leave_nothing_behind(served: Served) -> None:
    """Halves of requests, and clients that go in mid-stream."""
    whole = head(length=len(chat_body("one two", stream=True))) + chat_body("one two", stream=True)
    cuts = random.Random(7).sample(range(1, len(whole)), 40)
    for cut in cuts:
        with connect(served) as stream:
            stream.sendall(whole[:cut])
    for size in range(1, 400, 20):
        with connect(served) as stream:
            stream.sendall(whole)
            stream.recv(size)
            stream.shutdown(socket.SHUT_RDWR)
    eventually(lambda: served.door.flight.running == 0)
    assert ask(served).status == 200


def test_requests_in_a_row_without_waiting_are_answered_in_order(served: Served) -> None:
    with connect(served) as stream:
        for word in ("one", "two", "three"):
            body = chat_body(word)
            stream.sendall(head(length=len(body)) + body)
        found = b""
        while found.count(b'"total_tokens"') < 3:
            found += stream.recv(65536)
    assert found.index(b'"one"') < found.index(b'"two"') < found.index(b'"three"')


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "value",
    [
        b"1e999",
        b"-1e999",
        b"NaN",
        b"Infinity",
        b"9" * 400,
        b"-" + b"9" * 5000,
        b"0." + b"1" * 5000,
        b"1e-999",
        b"18446744073709551615",
        b"-9223372036854775809",
        b"0x10",
        b"01",
        b"+1",
        b'"\\u0000"',
        b'"\\ud83d\\ude00"',
        b'"\\ude00\\ud83d"',
        b'"' + b"\xf0\x9f\x98" + b'"',
        b'"' + b"\xed\xa0\x80" + b'"',
        b'"' + b"\xc0\x80" + b'"',
        b"[" * 60 + b"]" * 60,
        b'{"a":' * 60 + b"1" + b"}" * 60,
        b'{"__proto__":{"a":1},"":"","a":1,"a":2}',
    ],
)
def test_odd_numbers_texts_and_depths_are_answered(served: Served, path: str, value: bytes) -> None:
    """In place of every value of a valid body, and as a field that nobody knows."""
    whole = VALID.get(path, {"metadata": {"a": "b"}})
    marked = [with_value(whole, where, "@") for where in places(whole) if where]
    for body in [*marked, {**whole, "unknown": "@"}]:
        content = json.dumps(body).encode().replace(b'"@"', value)
        answer = call(served, "POST", path, content, JSON)
        assert answer.status < 500, (path, content[:300], answer.content)
        if answer.headers["content-type"] == "application/json":
            json.loads(answer.content, parse_constant=pytest.fail)


@pytest.mark.parametrize(
    "path", ["%00", "%ff", "..%2f..", "chatcmpl-1%00", "%ed%a0%80", "x" * 9000]
)
def test_odd_names_in_paths_and_queries_are_answered(served: Served, path: str) -> None:
    for base in (CHAT, "/v1/models"):
        assert 400 <= call(served, "GET", f"{base}/{path}").status < 500
        assert call(served, "DELETE", f"{base}/{path}").status < 500
    for name in ("after", "model", "metadata[x]", f"metadata[{path}]", 'metadata[a"b]', path):
        assert call(served, "GET", f"{CHAT}?{name}={path}".replace('"', "%22")).status < 500
