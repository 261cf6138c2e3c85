"""Who helps: a kind of cloud per file, found by name.

cloud: simulated
cloud: {kind: openai, http: {base_url: http://localhost:8000/v1, model: big, prices: prices.yaml}}
cloud: {kind: recorded, files: [replies.jsonl.gz]}
cloud: my_file.py:MyCloud
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from understudy.registry import Registry

if TYPE_CHECKING:
    from understudy.clouds.metered import MeteredCloud
    from understudy.clouds.simulated import SimulatedCloud

CLOUDS = Registry(
    "cloud",
    {
        "simulated": (
            "understudy.clouds.simulated:SimulatedCloud",
            "a cloud of stated accuracy, latency and price, without a network",
        ),
        "openai": (
            "understudy.clouds.openai:OpenAICloud",
            "any endpoint that speaks OpenAI's chat completions, described by cloud.http",
        ),
        "fallback": (
            "understudy.clouds.fallback:FallbackCloud",
            "several clouds in order: where one fails, the next is asked",
        ),
        "recorded": (
            "understudy.clouds.recorded:RecordedCloud",
            "replies from files; what is not there fails, or goes to a live cloud",
        ),
    },
)

__all__ = ["CLOUDS", "MeteredCloud", "SimulatedCloud"]

_HOMES = {
    "MeteredCloud": "understudy.clouds.metered",
    "SimulatedCloud": "understudy.clouds.simulated",
}


def __getattr__(name: str) -> Any:
    """The classes of this room, loaded when they are first needed."""
    if name not in _HOMES:
        raise AttributeError(f"{__name__} has no {name}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
