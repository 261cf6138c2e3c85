"""What may leave an agent by this mode, in plain sentences."""

from __future__ import annotations

from collections.abc import Iterator

from understudy.share.leaving import Leaving, as_sent
from understudy.share.settings import ShareConfig


def leaving(config: ShareConfig) -> Iterator[Leaving]:
    if config.share_data.mode == "receiver":
        yield from _instances_asked_for(config)
    else:
        yield from _instances_by_worth(config)


def _instances_asked_for(config: ShareConfig) -> Iterator[Leaving]:
    setting = config.share_data
    which = "drawn at random" if setting.score == "random" else "that it needs most"
    yield Leaving(
        "data.query",
        "x",
        f"Every {setting.every} epochs an agent sends each neighbour {setting.queries} validation "
        f"instances of its task, {which}, {as_sent(config)}.",
    )
    yield Leaving(
        "data.query",
        "label",
        "With each of these goes its class, which tells what the agent is learning.",
    )
    among = "of its class" if setting.among == "class" else "of a task that has its class"
    yield Leaving(
        "data",
        "x",
        f"A neighbour answers each with up to {setting.neighbours} training instances {among}, now "
        f"learnt or kept from earlier tasks, {as_sent(config)}.",
    )
    labels = {
        "owner": "With each answer goes its class, as its owner has it.",
        "query": "With each answer goes the class of the query; that there is an answer tells "
        "that its sender has that class.",
    }
    yield Leaving("data", "label", labels[setting.labels])


def _instances_by_worth(config: ShareConfig) -> Iterator[Leaving]:
    setting = config.share_data
    yield Leaving(
        "data.query",
        "classes",
        f"Every {setting.every} epochs an agent tells each neighbour all classes that it has met.",
    )
    yield Leaving(
        "data.query",
        "worth",
        "With each class goes how much of its task the agent still gets wrong.",
    )
    yield Leaving(
        "data",
        "x",
        f"A neighbour answers with up to {setting.queries} training instances of these classes, "
        f"drawn at random of what it holds, {as_sent(config)}.",
    )
    yield Leaving("data", "label", "With each answer goes its class.")
