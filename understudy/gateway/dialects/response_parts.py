"""The parts of OpenAI's responses, whether they are streamed or whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from understudy.gateway.dialects.deltas import reasoning_of, text_of
from understudy.gateway.ids import RESPONSE, marked

Item = dict[str, Any]

# Why a response is not whole, by the finish reason of the chat completion.
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


def response_of(body: Mapping[str, Any], completion: Mapping[str, Any]) -> dict[str, Any]:
    """The response to a body, of a whole chat completion."""
    choice = (completion.get("choices") or [{}])[0]
    found = shell(
        body,
        response_id=completion.get("id", ""),
        model=completion.get("model", ""),
        created=completion.get("created", 0),
    )
    logprobs = (choice.get("logprobs") or {}).get("content") or ()
    items = list(_items(found["id"], choice.get("message") or {}, logprobs))
    return ended(found, items, choice.get("finish_reason"), completion.get("usage"))


def shell(body: Mapping[str, Any], response_id: str, model: str, created: int) -> dict[str, Any]:
    """A response without output, its settings repeated as OpenAI does."""
    text = body.get("text") or {}
    return {
        "id": marked(response_id, RESPONSE),
        "object": "response",
        "created_at": created,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "metadata": body.get("metadata") or {},
        "model": model,
        "output": [],
        "parallel_tool_calls": body.get("parallel_tool_calls") is not False,
        "previous_response_id": None,
        "reasoning": {"effort": (body.get("reasoning") or {}).get("effort"), "summary": None},
        "store": bool(body.get("store")),
        "temperature": body.get("temperature"),
        "text": {"format": text.get("format") or {"type": "text"}},
        "tool_choice": body.get("tool_choice") or "auto",
        "tools": body.get("tools") or [],
        "top_p": body.get("top_p"),
        "truncation": "disabled",
        "usage": None,
        "user": body.get("user"),
    }


def ended(
    response: Mapping[str, Any],
    items: Sequence[Item],
    finish_reason: str | None,
    usage: Mapping[str, Any] | None,
) -> dict[str, Any]:
    reason = _INCOMPLETE.get(finish_reason or "")
    return {
        **response,
        "status": "incomplete" if reason else "completed",
        "incomplete_details": {"reason": reason} if reason else None,
        "output": list(items),
        "usage": usage_of(usage),
    }


def reasoning_item(response_id: str, text: str, status: str = "completed") -> Item:
    content = [{"type": "reasoning_text", "text": text}] if text else []
    return {
        "type": "reasoning",
        "id": f"rs_{response_id}",
        "summary": [],
        "content": content,
        "status": status,
    }


def message_item(
    response_id: str, parts: Sequence[Mapping[str, Any]], status: str = "completed"
) -> Item:
    return {
        "type": "message",
        "id": f"msg_{response_id}",
        "role": "assistant",
        "status": status,
        "content": list(parts),
    }


def text_part(text: str, logprobs: Sequence[Mapping[str, Any]] = ()) -> Item:
    return {
        "type": "output_text",
        "text": text,
        "annotations": [],
        "logprobs": [_logprob(each) for each in logprobs],
    }


def call_item(call_id: str, name: str, arguments: str, status: str = "completed") -> Item:
    return {
        "type": "function_call",
        "id": f"fc_{call_id}",
        "call_id": call_id,
        "name": name,
        "arguments": arguments,
        "status": status,
    }


def usage_of(usage: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not usage:
        return None
    prompt, completion = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    reasoned = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": reasoned},
        "total_tokens": usage.get("total_tokens") or prompt + completion,
    }


def _items(
    response_id: str, said: Mapping[str, Any], logprobs: Sequence[Mapping[str, Any]]
) -> Iterator[Item]:
    if reasoning := reasoning_of(said):
        yield reasoning_item(response_id, reasoning)
    calls = said.get("tool_calls") or ()
    if (text := text_of(said)) or not calls:
        yield message_item(response_id, [text_part(text, logprobs)])
    for call in calls:
        function = call.get("function") or {}
        yield call_item(
            call.get("id") or "", function.get("name") or "", function.get("arguments") or ""
        )


def _logprob(token: Mapping[str, Any]) -> Item:
    top = [
        {name: each.get(name) for name in ("token", "bytes", "logprob")}
        for each in token.get("top_logprobs") or ()
    ]
    found = {name: token.get(name) for name in ("token", "bytes", "logprob")}
    return found | {"bytes": found["bytes"] or [], "top_logprobs": top}
