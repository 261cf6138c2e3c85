"""What leaves an agent in a run, in plain sentences, and how much noise hides of it."""

from __future__ import annotations

from collections.abc import Iterator

from understudy.objectives import epsilon, zero_concentrated
from understudy.share.leaving import Leaving
from understudy.share.population import modes_of
from understudy.share.settings import ShareConfig

DELTA = 1e-5  # at which epsilon is given


def reveals(config: ShareConfig) -> list[str]:
    """What leaves an agent under these settings, in plain sentences."""
    leave = [each.sentence for each in leaving(config)]
    found = leave or ["Nothing leaves an agent."]
    if config.tasks_in_common:
        found.append(
            f"The first {config.tasks_in_common} tasks, with their instances, are the same for all "
            "agents, which begin with what one more has learnt there."
        )
    return [*found, *_figures(config)] if leave else found


def leaving(config: ShareConfig) -> Iterator[Leaving]:
    """One for every array that a mode may send."""
    for mode in modes_of(config):
        yield from mode.leaving(config)


def _figures(config: ShareConfig) -> Iterator[str]:
    """What noise of this size hides, where there is any."""
    noise, clip = config.privacy.noise, config.privacy.clip
    if not noise:
        return
    one = zero_concentrated(noise)

    def words(messages: int) -> str:
        return f"epsilon {epsilon(messages * one, DELTA):.3g}"

    if clip is not None and config.share_parameters.mode != "none":
        count = messages_of_weights(config)
        yield (
            f"One message of weights is differentially private with {words(1)} at delta {DELTA:g}; "
            f"the {count} of a run with {words(count)}."
        )
    if clip is not None and config.share_modules.mode != "none":
        yield f"The numbers of one module that is sent: {words(1)} at delta {DELTA:g}."
    shares = config.share_data.mode != "none" or config.share_modules.mode == "leep"
    if config.privacy.clip_instances is not None and shares:
        yield f"The numbers of one instance, each time it is sent: {words(1)} at delta {DELTA:g}."
    yield (
        "This holds against one who does not know the seed, which draws the noise, and says "
        "nothing of classes, similarities, and which and when."
    )


def messages_of_weights(config: ShareConfig) -> int:
    """That an agent sends each neighbour in a run."""
    return config.tasks_sharing * -(-config.epochs // config.share_parameters.every)
