"""Rows of logs, as OpenAI, LiteLLM and this gateway write them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from understudy.gateway.shadow.records import LocalAnswer, LoggedCall, Row

Json = dict[str, Any]


def asked(text: str, **more: Any) -> list[Json]:
    return [{"role": "user", "content": text, **more}]


def completion(text: str | None, id: str = "chatcmpl-1", **message: Any) -> Json:
    return {
        "id": id,
        "object": "chat.completion",
        "model": "gpt-x",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, **message},
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 10,
            "completion_tokens": 4,
            "prompt_tokens_details": {"cached_tokens": 6},
        },
    }


def stored(question: str, answer: str, id: str = "chatcmpl-1") -> Json:
    return completion(answer, id) | {"messages": asked(question), "metadata": {"task": "sums"}}


def batch(question: str, answer: str, name: str) -> tuple[Json, Json]:
    """A line of a batch's input, and the line of its output."""
    body = {"model": "gpt-x", "messages": asked(question)}
    asking = {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body}
    response = {"status_code": 200, "request_id": "r", "body": completion(answer, f"c-{name}")}
    return asking, {"id": "b", "custom_id": name, "response": response, "error": None}


def standard_payload(question: str, answer: str, id: str = "p-1", **more: Any) -> Json:
    """LiteLLM's StandardLoggingPayload."""
    return {
        "id": id,
        "call_type": "acompletion",
        "status": "success",
        "response_cost": 0.002,
        "prompt_tokens": 10,
        "completion_tokens": 4,
        "model": "gpt-x",
        "model_group": "chat",
        "messages": asked(question),
        "response": completion(answer, id),
        "metadata": {"requester_metadata": {"feature": "help"}, "user_api_key_hash": "secret"},
        "request_tags": ["prod"],
        "model_parameters": {"temperature": 0.5, "stream": False},
        **more,
    }


def spend_log(question: str, answer: str, id: str = "s-1") -> Json:
    """A row of LiteLLM_SpendLogs, whose JSON stands in texts."""
    return {
        "request_id": id,
        "call_type": "acompletion",
        "spend": 0.002,
        "prompt_tokens": 10,
        "completion_tokens": 4,
        "model": "gpt-x",
        "messages": "{}",
        "proxy_server_request": json.dumps({"messages": asked(question), "max_tokens": 9}),
        "response": json.dumps(completion(answer, id)),
        "cache_hit": "False",
        "request_tags": '["prod"]',
    }


def event(question: str, answer: str, id: str = "e-1", answered_by: str = "cloud") -> Json:
    """As `understudy events export` writes it."""
    return {
        "prompt": asked(question),
        "completion": [{"role": "assistant", "content": answer}],
        "id": id,
        "task": "sums",
        "answered_by": answered_by,
        "model": "gpt-x",
        "prompt_tokens": 10,
        "completion_tokens": 4,
        "metadata": {},
        "dollars": 0.002,
        "feedback": [],
    }


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def call(question: str = "1+1", answer: str = "2", **more: Any) -> LoggedCall:
    fields: Json = {"id": "", "place": "log:1", "model": "gpt-x"}
    return LoggedCall(body={"messages": asked(question)}, answer=answer, **{**fields, **more})


def row(
    question: str,
    wrong: bool,
    logprob: float = -0.1,
    dollars: float = 1.0,
    *,
    kind: str = "all",
    cloud_wrong: bool = False,
    unable: str = "",
) -> Row:
    local = LocalAnswer(text="x", version="local@0", mean_logprob=logprob, unable=unable)
    return Row(call(question), kind, dollars, local, wrong, cloud_wrong)
