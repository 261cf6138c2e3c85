"""What leaves an agent, said in words; and bounds and noise for it.

A change of weights, a module or an instance is scaled down to a norm of `clip` at most, and every
number gets Gaussian noise of deviation noise * clip. The changes are those since the agent's
weights were last sent (at first: since the weights that all began with), so that a message tells
of the agent's data by that clipped change alone. Of a module only what its receiver uses leaves
then.

This is no accounted guarantee. The noise is drawn by the seed of the run, and who knows that can
take it off again; labels, classes, similarities, which instance or module is sent, and whether and
when anything is, go out as they are; and nobody stops a run when a budget is spent. The figures in
`reveals` hold for the numbers of the weights, modules or instances alone, against one who does not
know the seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from understudy.errors import ConfigError
from understudy.link.carrier import Parcel
from understudy.objectives import clip_factor, epsilon, zero_concentrated
from understudy.share.settings import Privacy, ShareConfig

DELTA = 1e-5  # at which epsilon is given


def guarded(
    parcel: Parcel,
    kind: str,
    privacy: Privacy,
    told: dict[str, Tensor],
    luck: np.random.Generator,
) -> Parcel:
    """A parcel as it may leave. told: the agent's weights as all may know them, brought up to date
    where this parcel tells of them."""
    arrays = dict(parcel.arrays)
    if privacy.clip is not None and kind == "parameters":
        changes = [arrays[name] - known for name, known in told.items()]
        hidden = _hidden(changes, privacy.clip, privacy.noise, luck)
        for (name, known), change in zip(told.items(), hidden, strict=True):
            arrays[name] = known + change
        if all(bool(arrays[name].isfinite().all()) for name in told):
            told |= {name: arrays[name] for name in told}
    if privacy.clip is not None and kind == "modules":
        weights = [name for name in arrays if name.startswith("module.")]
        hidden = _hidden([arrays[name] for name in weights], privacy.clip, privacy.noise, luck)
        arrays = dict(zip(weights, hidden, strict=True)) | {"similarity": arrays["similarity"]}
    if privacy.clip_instances is not None and "x" in arrays:
        check_norms(privacy, arrays["x"])
        rows = [_hidden([x], privacy.clip_instances, privacy.noise, luck)[0] for x in arrays["x"]]
        arrays["x"] = torch.stack(rows) if rows else arrays["x"]
    return Parcel(arrays, parcel.floats)


def check_norms(privacy: Privacy, x: Tensor) -> None:
    if privacy.clip_instances is not None and not x.is_floating_point():
        raise ConfigError(
            f"privacy.clip_instances={privacy.clip_instances}: these instances are whole "
            "numbers, which have no norm to speak of; leave it out, or share no data"
        )


def _hidden(
    arrays: list[Tensor], clip: float, noise: float, luck: np.random.Generator
) -> list[Tensor]:
    """Arrays of joint norm `clip` at most, with noise."""
    factor = clip_factor(arrays, clip)
    result = []
    for array in arrays:
        drawn = luck.standard_normal(tuple(array.shape), dtype=np.float32)
        result.append(array * factor + noise * clip * torch.from_numpy(np.asarray(drawn)))
    return result


@dataclass(frozen=True, slots=True)
class Leaving:
    """What may leave an agent: the arrays (by a pattern of their names) of a kind of message."""

    kind: str
    arrays: str
    sentence: str


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
    if config.share_data.mode == "receiver":
        yield from _instances_asked_for(config)
    elif config.share_data.mode == "simple":
        yield from _instances_by_worth(config)
    if config.share_parameters.mode != "none":
        yield from _weights(config)
    if config.share_modules.mode != "none":
        yield from _modules(config)


def _as_sent(config: ShareConfig) -> str:
    clip, noise = config.privacy.clip_instances, config.privacy.noise
    if clip is None:
        return "as they are"
    return f"scaled to a norm of {clip:g} at most" + (", with noise" if noise else "")


def _instances_asked_for(config: ShareConfig) -> Iterator[Leaving]:
    told = config.share_data
    which = "drawn at random" if told.score == "random" else "that it needs most"
    yield Leaving(
        "data.query",
        "x",
        f"Every {told.every} epochs an agent sends each neighbour {told.queries} validation "
        f"instances of its task, {which}, {_as_sent(config)}.",
    )
    yield Leaving(
        "data.query",
        "label",
        "With each of these goes its class, which tells what the agent is learning.",
    )
    among = "of its class" if told.among == "class" else "of a task that has its class"
    yield Leaving(
        "data",
        "x",
        f"A neighbour answers each with up to {told.neighbours} training instances {among}, now "
        f"learnt or kept from earlier tasks, {_as_sent(config)}.",
    )
    labels = {
        "owner": "With each answer goes its class, as its owner has it.",
        "query": "With each answer goes the class of the query; that there is an answer tells "
        "that its sender has that class.",
    }
    yield Leaving("data", "label", labels[told.labels])


def _instances_by_worth(config: ShareConfig) -> Iterator[Leaving]:
    told = config.share_data
    yield Leaving(
        "data.query",
        "classes",
        f"Every {told.every} epochs an agent tells each neighbour all classes that it has met.",
    )
    yield Leaving(
        "data.query",
        "worth",
        "With each class goes how much of its task the agent still gets wrong.",
    )
    yield Leaving(
        "data",
        "x",
        f"A neighbour answers with up to {told.queries} training instances of these classes, drawn "
        f"at random of what it holds, {_as_sent(config)}.",
    )
    yield Leaving("data", "label", "With each answer goes its class.")


def _weights(config: ShareConfig) -> Iterator[Leaving]:
    told, clip, top = config.share_parameters, config.privacy.clip, config.messages.top
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
        f"As a task begins, and every {told.every} epochs of it, an agent sends each neighbour the "
        f"weights of its {which}"
        f"{change}; decoders and structures stay.",
    )
    if told.mode == "fedcurv":
        yield Leaving(
            "parameters",
            "fisher.*",
            "With each weight goes how much the agent's labelled training instances depend on it.",
        )


def _modules(config: ShareConfig) -> Iterator[Leaving]:
    told, clip = config.share_modules, config.privacy.clip
    if told.mode == "iou":
        yield Leaving(
            "modules.query",
            "classes",
            "As a task begins, an agent tells each neighbour the classes of the task.",
        )
    else:
        yield Leaving(
            "modules.query",
            "x",
            f"As a task begins, an agent sends each neighbour up to {told.points} validation "
            f"instances of each of its classes, {_as_sent(config)}.",
        )
        yield Leaving(
            "modules.query",
            "label",
            "With each of these goes its class, which tells what the agent begins to learn.",
        )
    scaled = "" if clip is None else f", scaled to a norm of {clip:g} at most"
    scaled += ", with noise" if clip is not None and config.privacy.noise else ""
    yield Leaving(
        "modules",
        "module.*",
        f"A neighbour answers with up to {told.candidates} of its modules, each made by one of its "
        f"tasks{scaled}.",
    )
    if clip is None:
        yield Leaving(
            "modules",
            "decoder",
            "With a module goes the decoder of its task: what its owner would answer of instances.",
        )
        yield Leaving(
            "modules",
            "structure",
            "With a module goes the structure of its task: how much that uses each other module.",
        )
        yield Leaving("modules", "classes", "With a module go the classes of its task.")
    score = "the share of classes that the two tasks have in common"
    if told.mode == "leep":
        score = "how well its owner's answers tell the asker's classes apart"
    yield Leaving("modules", "similarity", f"With a module goes {score}.")


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
