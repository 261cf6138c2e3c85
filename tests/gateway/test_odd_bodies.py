"""The whole gateway, with the model that ships and the simulated cloud, and bodies that nobody
means: each is answered, or refused for a reason, and none is a fault of the gateway."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.gateway.door.test_malformed import CALL, ODD, places, with_value
from tests.gateway.served import Process, serving

EASY = "tom has 12 pens, buys 5. how many?"
HARD = "max has 41 cards, sells 13, finds 46, eats 4. how many?"
SYSTEM = {"role": "system", "content": "You are a helpful assistant."}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CHAT: dict[str, Any] = {
    "model": "auto",
    "messages": [SYSTEM, {"role": "user", "content": [{"type": "text", "text": HARD}]}],
    "stream": False,
    "n": 1,
    "max_tokens": 20,
    "temperature": 0.5,
    "top_p": 0.9,
    "seed": 7,
    "stop": ["!"],
    "logprobs": True,
    "top_logprobs": 2,
    "metadata": {"a": "b"},
    "store": True,
}
BODIES: dict[str, list[dict[str, Any]]] = {
    "/v1/chat/completions": [
        CHAT,
        {"messages": [{"role": "user", "content": EASY}], "stream": True, "n": 2},
        {
            "messages": [
                {"role": "user", "content": EASY},
                {"role": "assistant", "content": None, "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "a", "content": "7"},
            ],
            "tools": [TOOL],
            "tool_choice": "required",
        },
        {
            "model": "local",
            "messages": [{"role": "user", "content": EASY}],
            "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}},
        },
    ],
    "/v1/completions": [
        {"model": "local", "prompt": [EASY, "3+4"], "logprobs": 1, "max_tokens": 5, "stream": True}
    ],
    "/v1/responses": [
        {"input": [{"role": "user", "content": [{"type": "input_text", "text": EASY}]}]},
        {"model": "cloud", "input": HARD, "instructions": "x", "stream": True},
    ],
    "/v1/messages": [
        {"max_tokens": 9, "system": "x", "messages": [{"role": "user", "content": EASY}]},
        {"max_tokens": 9, "messages": [{"role": "user", "content": HARD}], "stream": True},
    ],
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    store: Path = tmp_path_factory.mktemp("odd") / "g.db"
    with serving("--max-dollars", "1/day", store=store) as found:
        yield found
        assert not [line for line in found.log if '"fault"' in line]


def post(gateway: Process, path: str, body: bytes) -> tuple[int, bytes]:
    address = urlsplit(gateway.url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=60)
    try:
        connection.request("POST", path, body, {"content-type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def check(status: int, content: bytes) -> None:
    """Whole JSON, or events of JSON; errors with a reason that is not ours."""
    assert status in (200, 400, 403, 404, 429, 502, 503), content
    assert b"internal_error" not in content
    events = [line[6:] for line in content.split(b"\n") if line.startswith(b"data: ")]
    for each in events or [content]:
        if each != b"[DONE]":
            json.loads(each, parse_constant=pytest.fail)


def test_what_is_spoilt_here_is_meant_at_first(gateway: Process) -> None:
    found = [
        post(gateway, path, json.dumps(body).encode())
        for path, bodies in BODIES.items()
        for body in bodies
    ]
    for status, content in found:
        check(status, content)
    assert [status for status, _ in found].count(200) >= len(found) - 2, found


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_any_value_anywhere_is_no_fault(gateway: Process, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(BODIES)))
    body = data.draw(st.sampled_from(BODIES[path]))
    where = data.draw(st.sampled_from(list(places(body))))
    spoilt = with_value(body, where, data.draw(ODD))
    check(*post(gateway, path, json.dumps(spoilt).encode()))
