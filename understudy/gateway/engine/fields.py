"""Which fields of a request our engine follows: what it would leave out in silence is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# In a `Job`, or read before there is one.
JOB = frozenset(
    {
        *("model", "messages", "prompt", "n", "stream", "stream_options", "store", "metadata"),
        *("max_tokens", "max_completion_tokens", "temperature", "top_p", "seed", "stop"),
        *("logprobs", "top_logprobs", "tools", "tool_choice", "response_format"),
    }
)
# Of whoever asks, of clouds' prices and caches, or wishes that leave the answer open.
_NO_MATTER = frozenset(
    {
        *("user", "safety_identifier", "service_tier", "provider", "usage", "cache_prompt"),
        *("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "prediction"),
        *("reasoning_effort", "reasoning", "thinking", "verbosity", "parallel_tool_calls"),
    }
)
_ASKS_THOUGH_EMPTY = frozenset({"web_search_options"})
# What a field may say that asks for nothing; of every other: null, false, 0, and what is empty.
_IDLE: Mapping[str, tuple[Any, ...]] = {
    "best_of": (1,),
    "function_call": ("none",),
    "length_penalty": (1,),
    "modalities": (["text"],),
    "repetition_penalty": (1,),
    "top_k": (-1,),
}


def unserved(body: Mapping[str, Any]) -> str:
    """The first field that would change an answer, and does not change ours; '': there is none.

    >>> unserved({"messages": [], "user": "ann", "top_k": 0, "logit_bias": {}, "min_p": 0.1})
    'min_p'
    """
    for name, value in body.items():
        asks = bool(value) or (name in _ASKS_THOUGH_EMPTY and value is not None)
        if asks and name not in JOB | _NO_MATTER and value not in _IDLE.get(name, ()):
            return name
    return ""


def more_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that a `Job` has no name for. Null asks for nothing, and not every engine takes
    it."""
    return {name: found for name, found in body.items() if name not in JOB and found is not None}
