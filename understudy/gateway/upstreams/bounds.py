"""What a call costs at most, before it is made: pure arithmetic.

No tokenizer has a token shorter than a byte, so the bytes of a question bound its tokens. The
answer is bounded by the max_tokens that is sent along; where the headroom pays for less, that is
lowered to what it pays for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from understudy.clouds.prices import Prices
from understudy.types import Cost

# What a chat template writes around the messages: default system messages, descriptions of tools.
_TEMPLATE_TOKENS, _TOOL_TEMPLATE_TOKENS = 64, 512
# An image, a sound or a file that is given by its address has few bytes here, and many tokens.
_PART_TOKENS = 4096
_PARTS = ("image_url", "input_audio", "file", "video_url")


def prompt_tokens_at_most(body: Mapping[str, Any], size: int) -> int:
    """size: bytes of the body as JSON, all of its names and marks included."""
    tools = _TOOL_TEMPLATE_TOKENS if body.get("tools") or body.get("functions") else 0
    parts = sum(
        isinstance(part, Mapping) and part.get("type") in _PARTS
        for message in body["messages"]
        if isinstance(message.get("content"), list)
        for part in message["content"]
    )
    return size + _TEMPLATE_TOKENS + tools + parts * _PART_TOKENS


def completion_tokens_wanted(body: Mapping[str, Any], default: int) -> int:
    """Of all the answers that are wanted, together."""
    return answers_of(body) * (_given(body) or default)


def answers_of(body: Mapping[str, Any]) -> int:
    """How many answers are wanted; legacy `best_of` writes as many as it chooses from."""
    return max(int(body.get("n") or 1), int(body.get("best_of") or 1))


def cost_of(prices: Prices, prompt: int, completion: int, cached: int = 0) -> Cost:
    return Cost(1, prompt, completion, dollars=prices.dollars(prompt, cached, completion))


def cost_at_most(prices: Prices, prompt: int, completion: int) -> Cost:
    """As `cost_of`, with whatever the endpoint's own cache makes of the prompt."""
    dearest = Prices(max(prices.prompt, prices.cached_prompt), 0.0, prices.completion)
    return cost_of(dearest, prompt, completion)


def bounded(body: Mapping[str, Any], tokens: int, field: str) -> Mapping[str, Any]:
    """The body with so many tokens for all of its answers together, at most.

    field: what the upstream calls the bound, where the client gives none.
    """
    each = max(tokens // answers_of(body), 1)
    given = {name: int(body[name]) for name in _FIELDS if body.get(name) is not None}
    if given and max(given.values()) <= each:
        return body
    lowered = {name: min(value, each) for name, value in given.items()} or {field: each}
    return {**body, **lowered}


_FIELDS = ("max_completion_tokens", "max_tokens")


def _given(body: Mapping[str, Any]) -> int | None:
    return next((int(body[name]) for name in _FIELDS if body.get(name) is not None), None)
