"""examples/extend/cloud.py: a program of one's own as the cloud, within caps, and when it fails."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.offload.runs import config_of, run_new
from understudy.clouds import MeteredCloud
from understudy.clouds.building import build_cloud
from understudy.errors import CloudError, ConfigError
from understudy.link import Budget, ReplyLog
from understudy.offload.config import Config
from understudy.recipes import check_config, resolve_config, saved_config
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


def small(program: str, **settings: Any) -> Config:
    sizes = {"eval_queries": 4, "calibration_queries": 8, "steps": 1, "stream": "demo"}
    sizes |= {"threads": 1, "bf16": False}
    cloud = {"kind": KIND, "command": [sys.executable, "-c", program], **settings}
    return config_of("understudy", Path("tiny"), **sizes, cloud=cloud)


def test_a_run_asks_it_within_its_cap_and_keeps_its_settings(tmp_path: Path) -> None:
    config = small("print('read:', input())", dollars_per_call=0.5, max_dollars=4.0)
    run = run_new(tmp_path / "run", config)
    assert saved_config(run) == config
    logs = [ReplyLog(path) for path in (run.replies, run.examination_replies)]
    entries = [entry for log in logs for entry in log.entries()]
    assert len(entries) == 8  # what the cap allows
    for entry in entries:
        assert entry.reply.text == f"read: {entry.question.prompt}\n"
    summary = run.read(run.summary)
    assert summary["spend"]["dollars"] + summary["evaluation_spend"]["dollars"] == 4.0


def test_a_program_that_fails_is_named_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(CloudError, match="exit 1: it has no model"):
        run_new(tmp_path / "run", small("raise SystemExit('it has no model')"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ([], "cloud.command"),
        (["cloud.command=[x]", "cloud.timeout_second=3"], "did you mean cloud.timeout_seconds"),
        (["cloud.command=[x]", "cloud.accuracy=1"], "a setting of cloud simulated"),
    ],
)
def test_its_settings_are_checked_like_ours(settings: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        resolve_config("understudy", None, [f"cloud.kind={KIND}", *settings])
