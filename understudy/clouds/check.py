"""One call before anything long: a cloud that cannot answer is found out at once."""

from __future__ import annotations

from collections.abc import Callable

from understudy.clouds.calls import reply_of
from understudy.clouds.estimates import estimated_cost
from understudy.clouds.failures import FAILED_IN_RECORD, NOT_RECORDED, failure_text
from understudy.errors import CloudError
from understudy.link import Budget, Refusal
from understudy.progress import task
from understudy.types import Cloud, Question, Reply, Request
from understudy.waiting import wait_for


def check_cloud(
    cloud: Cloud, question: Question, warn: Callable[[str], None], budget: Budget | None = None
) -> Reply | None:
    """The reply to a first question, which is paid for like any other; give it to
    `MeteredCloud.adopt`. A call that fails is one line that says what to do. None: the budget has
    no room for a call, or the first question is not in a record; other questions may be there, so
    that is a warning."""
    if budget is not None:
        room = budget.reserve(estimated_cost(cloud, question))
        if isinstance(room, Refusal):
            return None
        budget.release(room)  # whoever adopts the reply charges it
    with task("trying the cloud with one question"):
        reply = wait_for(reply_of(cloud, Request(question)))
    if reply.error is not None and reply.error.startswith((NOT_RECORDED, FAILED_IN_RECORD)):
        warn(f"the first question has no recorded reply: {failure_text(cloud, reply.error)}")
        return None
    if reply.error is not None and reply.error != "truncated":  # it answers, if too briefly
        raise CloudError(
            f"{failure_text(cloud, reply.error)} (--no-check starts without trying the cloud)"
        )
    return reply
