"""Who is asked for help: a kind per file, found by name.

clouds:
  main: {base_url: "https://api.example.com/v1", model: big, prices: prices.yaml}
  demo: {kind: cloud, cloud: simulated}
"""

from __future__ import annotations

from pydantic import Field

from understudy.registry import Registry
from understudy.settings import KindSection

UPSTREAMS = Registry(
    "clouds",
    {
        "openai": (
            "understudy.gateway.upstreams.openai:OpenAIUpstream",
            "an endpoint that speaks OpenAI's chat completions, passed through",
        ),
        "cloud": (
            "understudy.gateway.upstreams.in_process:InProcessUpstream",
            "any kind of cloud that training knows, the simulated one to begin with",
        ),
    },
)


class UpstreamSettings(KindSection):
    """What every kind has."""

    kind: str = "openai"
    train_on_replies: bool = Field(
        False,
        description="whether a model may be trained on its answers; its terms may forbid it",
    )
