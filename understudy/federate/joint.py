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
