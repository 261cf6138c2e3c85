"""What may leave an agent by this mode, in plain sentences."""

from __future__ import annotations

from collections.abc import Iterator

from understudy.share.leaving import Leaving
from understudy.share.settings import ShareConfig


def leaving(config: ShareConfig) -> Iterator[Leaving]:
    setting, clip, top = config.share_parameters, config.privacy.clip, config.messages.top
    which = "first modules" if config.learner == "modular" else "layers"
    change = ""
    if clip is not None:
        change = f", their change since the last time scaled to a norm of {clip:g} at most"
        change += ", with noise" if config.privacy.noise else ""
    if top is not None:
        change += f"; after the first time the {top:.3g} of them that changed most"
    yield Leaving(
        "parameters",
        "modules.*",
        f"As a task begins, and every {setting.every} epochs of it, an agent sends each neighbour "
        f"the weights of its {which}"
        f"{change}; decoders and structures stay.",
    )
    if setting.mode == "fedcurv":
        yield Leaving(
            "parameters",
            "fisher.*",
            "With each weight goes how much the agent's labelled training instances depend on it.",
        )
