"""What a request may hold whose cost no number of tokens bounds. It is refused, or allowed by name.

Some fields replace the bound of an answer (n_predict), some buy more than tokens (plugins), some
change the price of a token (service_tier).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from understudy.gateway.upstreams.bounds import parts_of
from understudy.gateway.upstreams.calls import UpstreamError, of_question

# Of llama.cpp, Ollama and others: another name for the answer's length.
_LENGTHS = ("n_predict", "num_predict", "max_new_tokens", "max_output_tokens")
# Of OpenAI, xAI, OpenRouter, LiteLLM's proxy.
_BOUGHT = (
    "service_tier",
    "prediction",
    "web_search_options",
    "search_parameters",
    "models",
    "plugins",
    "provider",
    "fallbacks",
    "extra_body",
    "options",
    "audio",
    "modalities",
)
TOOLS = "tools"  # other than functions: a search, a container
SPENDING = (*_LENGTHS, *_BOUGHT, TOOLS)

# What such a field may say without any cost.
_FREE: Mapping[str, tuple[Any, ...]] = {
    "service_tier": ("auto", "default", "flex"),
    "modalities": (["text"],),
}


def refuse_unbounded(
    model: str, body: Mapping[str, Any], allowed: Collection[str], part_tokens: int | None
) -> None:
    """Raises UpstreamError, a fault of the question. part_tokens: of a part that is no text; None:
    nobody said, so there may be none."""
    for name in (*_LENGTHS, *_BOUGHT):
        value = body.get(name)
        harmless = value is None or value in ([], {}, *_FREE.get(name, ()))
        if name not in allowed and not harmless:
            raise _refusal(f"{model} is not asked with {name}: nothing bounds what it costs", name)
    if TOOLS not in allowed:
        for tool in body.get(TOOLS) or ():
            kind = tool.get("type") if isinstance(tool, Mapping) else tool
            if kind != "function":
                reason = f"{model} is not asked with a tool of type {str(kind)[:40]!r}: nothing"
                raise _refusal(f"{reason} bounds what it costs", TOOLS)
    if part_tokens is None and parts_of(body):
        reason = f"{model} reads text only here: nothing bounds what an image, a sound or a file"
        raise _refusal(f"{reason} costs; give the cloud part_tokens", "messages")


def _refusal(message: str, field: str) -> UpstreamError:
    return of_question(message, field, "unbounded_cost")
