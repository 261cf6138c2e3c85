"""What Anthropic's messages have whether they are streamed or whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from understudy.clouds.estimates import about_tokens

_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}


def stop_reason(finish_reason: str | None, stop: str | None) -> str:
    if stop is not None:
        return "stop_sequence"
    return _REASONS.get(finish_reason or "stop", "end_turn")


def usage_of(usage: Mapping[str, Any] | None) -> dict[str, int]:
    """Anthropic counts a prompt's cached tokens beside the others, OpenAI among them."""
    usage = usage or {}
    prompt = int(usage.get("prompt_tokens") or 0)
    details = usage.get("prompt_tokens_details") or {}
    cached = min(prompt, int(details.get("cached_tokens") or 0))
    return {
        "input_tokens": prompt - cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": int(usage.get("completion_tokens") or 0),
    }


def estimated_tokens(chat: Mapping[str, Any]) -> int:
    """About how many tokens a chat completion's messages and tools have."""
    size = len(orjson.dumps([chat["messages"], chat.get("tools", [])]))
    return about_tokens(size)
