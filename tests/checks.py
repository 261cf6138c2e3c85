"""What tests of several rooms check answers with."""

from __future__ import annotations

from understudy.tasks import open_tasks
from understudy.types import Query

TASKS = open_tasks()


def is_right(query: Query, completion: str) -> bool:
    return TASKS.check([query], [completion]) == [1.0]
