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

MOST_TOKENS = 2**20  # of one answer: more than any model writes, and every sum of them stays small

_WORDS = ("text", "refusal")  # parts whose tokens are all there, as bytes
_FIELDS = ("max_completion_tokens", "max_tokens")


def prompt_tokens_at_most(body: Mapping[str, Any], size: int, part_tokens: int = 0) -> int:
    """size: bytes of the body as JSON, all of its names and marks included. part_tokens: of a part
    that is not text."""
    tools = _TOOL_TEMPLATE_TOKENS if body.get("tools") or body.get("functions") else 0
    return size + _TEMPLATE_TOKENS + tools + parts_of(body) * part_tokens


def parts_of(body: Mapping[str, Any]) -> int:
    """How many parts are no text. Given by its address an image, a sound or a file has few bytes
    here and many tokens there."""
    found = 0
    for message in body["messages"]:
        content = message.get("content")
        if isinstance(content, list):
            found += sum(
                not isinstance(part, Mapping) or part.get("type") not in _WORDS for part in content
            )
        found += message.get("audio") is not None  # the id of a spoken answer
    return found


def completion_tokens_wanted(body: Mapping[str, Any], default: int) -> int:
    """Of all the answers that are wanted, together."""
    return answers_of(body) * tokens_of_each(body, default)


def completion_tokens_least(body: Mapping[str, Any], default: int, least: int) -> int:
    """What all answers need, if each is to have so many tokens, or as many as are wanted."""
    return answers_of(body) * min(tokens_of_each(body, default), least)


def tokens_of_each(body: Mapping[str, Any], default: int) -> int:
    """The client's bound, the smaller one where it gives both names; else the default."""
    given = [int(body[name]) for name in _FIELDS if body.get(name) is not None]
    return min(max(min(given, default=default), 1), MOST_TOKENS)


def answers_of(body: Mapping[str, Any]) -> int:
    """How many answers are wanted; `best_of` writes as many as it chooses from."""
    return max(int(body.get("n") or 1), int(body.get("best_of") or 1))


def cost_of(
    prices: Prices, prompt: int, completion: int, cached: int = 0, written: int = 0
) -> Cost:
    """cached, written: of the prompt's tokens, those that the endpoint's cache had and took."""
    return Cost(1, prompt, completion, dollars=prices.dollars(prompt, cached, completion, written))


def cost_at_most(prices: Prices, prompt: int, completion: int) -> Cost:
    """As `cost_of`, with whatever the endpoint's own cache makes of the prompt."""
    return Cost(1, prompt, completion, dollars=prices.at_most(prompt, completion))


def bounded(body: Mapping[str, Any], tokens: int, field: str) -> dict[str, Any]:
    """The body with so many tokens for all of its answers together, at most.

    field: what the upstream calls the bound. Only that one is sent: an endpoint that does not know
    the client's name for it would write without a bound.
    """
    each = max(tokens // answers_of(body), 1)
    kept = {name: value for name, value in body.items() if name not in _FIELDS}
    return kept | {field: min(tokens_of_each(body, each), each)}


def passes(tokens: int, pieces: int, size: int) -> bool:
    """Whether an answer is certainly longer than so many tokens, though nobody counted them.

    pieces: chunks of its stream. size: its bytes. Servers differ: one sends a chunk for a letter,
    another one for ten tokens; a token has four bytes as a rule. So it is cut at about twice what
    it was sent as its bound.
    """
    return (pieces > 2 * tokens + 64 and size > 8 * tokens) or size > 16 * tokens + 1024
