"""examples/extend/cloud.py: a program of one's own as the cloud, within caps, and when it fails."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from understudy.clouds import MeteredCloud
from understudy.clouds.building import build_cloud
from understudy.link import Budget
from understudy.recipes import check_config
from understudy.types import Question, Reply

KIND = f"{Path(__file__).parents[2] / 'examples' / 'extend' / 'cloud.py'}:CommandCloud"
SUM = Question.of("20+22")
CALCULATOR = "print('#', eval(input()))"


def metered(command: list[str], budget: Budget | None = None, **settings: Any) -> MeteredCloud:
    cloud = check_config({"cloud": {"kind": KIND, "command": command, **settings}}).cloud
    return MeteredCloud(build_cloud(cloud, lambda question: None), budget=budget)


def reply_of(cloud: MeteredCloud) -> Reply:
    (reply,) = cloud.replies([SUM])
    cloud.close()
    return reply


def test_a_program_answers_and_is_paid() -> None:
    cloud = metered([sys.executable, "-c", CALCULATOR], dollars_per_call=0.25)
    assert reply_of(cloud).text == "# 42\n"
    assert (cloud.spend.calls, cloud.spend.dollars) == (1, 0.25)


def test_its_price_is_kept_within_a_cap() -> None:
    cloud = metered(
        [sys.executable, "-c", CALCULATOR], Budget({"dollars": 0.2}), dollars_per_call=1
    )
    assert "max_dollars" in str(reply_of(cloud).error)
    assert cloud.spend.calls == 0


@pytest.mark.parametrize(
    ("program", "error", "seconds"),
    [
        ("import sys; sys.exit('no such thing')", "exit 1: no such thing", 600),
        ("import time; time.sleep(600)", "timeout", 0.2),
    ],
)
def test_a_program_that_fails_is_a_failed_call(program: str, error: str, seconds: float) -> None:
    cloud = metered([sys.executable, "-c", program], timeout_seconds=seconds)
    assert reply_of(cloud).error == error
    assert cloud.spend.failed_calls == 1


def test_a_program_that_is_not_there_is_a_failed_call() -> None:
    assert "no-such-program" in str(reply_of(metered(["./no-such-program"])).error)
