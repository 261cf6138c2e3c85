"""What may leave an agent by this mode, in plain sentences."""

from __future__ import annotations

from collections.abc import Iterator

from understudy.share.leaving import Leaving, as_sent
from understudy.share.settings import ShareConfig


def leaving(config: ShareConfig) -> Iterator[Leaving]:
    setting, clip = config.share_modules, config.privacy.clip
    if setting.mode == "iou":
        yield Leaving(
            "modules.query",
            "classes",
            "As a task begins, an agent tells each neighbour the classes of the task.",
        )
    else:
        yield Leaving(
            "modules.query",
            "x",
            f"As a task begins, an agent sends each neighbour up to {setting.points} validation "
            f"instances of each of its classes, {as_sent(config)}.",
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
        f"A neighbour answers with up to {setting.candidates} of its modules, each made by one of "
        f"its tasks{scaled}.",
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
    if setting.mode == "leep":
        score = "how well its owner's answers tell the asker's classes apart"
    yield Leaving("modules", "similarity", f"With a module goes {score}.")
