"""What tests of several rooms check answers with."""

from __future__ import annotations

from understudy.tasks import open_tasks
from understudy.types import Problem

TASKS = open_tasks()


def is_right(query: Problem, completion: str) -> bool:
    return TASKS.check([query], [completion]) == [1.0]
