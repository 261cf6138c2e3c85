"""What may leave an agent, as its modes say it."""

from __future__ import annotations

from dataclasses import dataclass

from understudy.share.settings import ShareConfig


@dataclass(frozen=True, slots=True)
class Leaving:
    """The arrays (by a pattern of their names) of a kind of message, and what they tell."""

    kind: str
    arrays: str
    sentence: str


def as_sent(config: ShareConfig) -> str:
    clip, noise = config.privacy.clip_instances, config.privacy.noise
    if clip is None:
        return "as they are"
    return f"scaled to a norm of {clip:g} at most" + (", with noise" if noise else "")
