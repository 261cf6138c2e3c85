"""Joint training, the bound of what a federation can reach: one client has everybody's data.

Client 1 has the training samples of all clients and all tasks, from the first task on; the others
have none, so the mean by samples is what client 1 learnt. All are tested on their own tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from understudy.federate.client_tasks import Examples, PreparedTask
    from understudy.federate.settings import FederateConfig

LEARNER = 1  # the client that has everybody's data


def with_everything(
    tasks: Sequence[PreparedTask], everything: Sequence[Examples]
) -> list[PreparedTask]:
    """A client's own tasks, each with all of these samples to train on."""
    from understudy.federate.client_tasks import joined

    whole = joined(everything)
    classes = tuple(sorted(set(whole.label.tolist())))
    return [replace(task, train=whole, learnt=classes) for task in tasks]


def with_nothing(tasks: Sequence[PreparedTask]) -> list[PreparedTask]:
    """A client's own tasks, without any sample to train on."""
    return [replace(task, train=task.train.rows(slice(0, 0))) for task in tasks]


def check_joint(config: FederateConfig) -> None:
    """Refuse what would give the others something else than what client 1 learnt."""
    server = config.serving
    by_samples = {"kind": "average", "rule": "mean", "weights": "samples"}
    if not config.method.whole:
        raise ValueError(
            f"joint=true: of method.kind={config.method.kind} not all that a client learns is "
            "averaged, so the others would not learn it; use head, lora, prompts or small_alone"
        )
    for name, wanted in by_samples.items():
        if (found := getattr(server, name, None)) != wanted:
            raise ValueError(
                f"joint=true gives client 1 all samples, so only a mean by samples is what it "
                f"learnt, but server.{name}={found}; use {wanted}"
            )
    if config.participation < 1 or config.link.loss:
        raise ValueError(
            f"joint=true needs client 1 in every round, but participation={config.participation} "
            f"and link.loss={config.link.loss}; leave them out"
        )
