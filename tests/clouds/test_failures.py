"""Which failed calls stop a run."""

from __future__ import annotations

import pytest

from understudy.clouds import MeteredCloud
from understudy.clouds.failures import FailureWatch
from understudy.errors import CloudError
from understudy.types import Question, Reply, Request


class CuttingCloud:
    """Cuts the answers of some questions off, always the same ones."""

    async def answer(self, request: Request) -> Reply:
        number = int(request.question.prompt)
        error = "truncated" if number % 4 == 0 else None
        return Reply(text="a b c", prompt_tokens=1, completion_tokens=3, error=error)


def questions(count: int) -> list[Question]:
    return [Question.of(str(number)) for number in range(1, count + 1)]


def watched(most: float) -> MeteredCloud:
    cloud = CuttingCloud()
    return MeteredCloud(cloud, watch=FailureWatch(cloud, most, lambda _: None))


def test_answers_that_are_cut_off_at_every_examination_stop_no_run() -> None:
    cloud = watched(most=0.5)
    for _ in range(3):  # a quarter is cut off; the others are asked for once
        replies = cloud.replies(questions(100))
        assert sum(reply.error is not None for reply in replies) == 25
    cloud.close()


def test_too_many_that_are_cut_off_stop_it_at_once() -> None:
    cloud = watched(most=0.2)
    with pytest.raises(CloudError, match=r"25 of the last 100 .* truncated"):
        cloud.replies(questions(100))
    cloud.close()
