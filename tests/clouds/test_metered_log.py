"""The meter with its log: a killed run pays nothing twice and counts the same."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from understudy.clouds import MeteredCloud
from understudy.errors import CheckpointError, ConfigError
from understudy.link import ReplyLog
from understudy.types import Options, Question, Reply, Request


class Moody:
    """Answers everything, never twice the same; fails where a prompt says so, at first."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.requests: list[tuple[str, int]] = []

    async def answer(self, request: Request) -> Reply:
        self.requests.append((request.question.prompt, request.attempt))
        count = len(self.requests)
        if request.question.prompt.startswith("bad") and request.attempt == 0:
            return Reply(None, count, 0, 0.001 * count, error="timeout")
        return Reply(f"{self.name} {count}", count, count, 0.01 * count, 0.1 * count)


class Raising:
    """Raises what a test says for one prompt, and answers the others."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.asked: list[str] = []

    async def answer(self, request: Request) -> Reply:
        self.asked.append(request.question.prompt)
        if request.question.prompt == "bad":
            raise self.error
        return Reply("good", 1, 1, 0.5)


def questions(*prompts: str) -> list[Question]:
    return [Question.of(prompt) for prompt in prompts]


def saved(cloud: MeteredCloud) -> dict[str, Any]:
    """Its state, through a checkpoint's file."""
    state: dict[str, Any] = json.loads(json.dumps(cloud.state()))
    return state


BATCHES = [["a", "bad b"], ["a", "c", "bad b", "c"], ["d", "bad e"], ["bad e", "f"]]


@pytest.mark.parametrize("checkpoint", [0, 1, 2])
@pytest.mark.parametrize("killed", [2, 3, 4])
def test_a_killed_run_repeats_its_numbers_and_pays_only_what_is_new(
    tmp_path: Path, checkpoint: int, killed: int
) -> None:
    far = Moody("first")
    path = tmp_path / "replies.jsonl"
    cloud, state, seen = MeteredCloud(far, log=ReplyLog(path)), None, []
    for number, batch in enumerate(BATCHES[:killed]):
        if number == checkpoint and checkpoint > 0:
            state = saved(cloud)
        seen.append((cloud.replies(questions(*batch)), cloud.spend))
    if checkpoint == killed:
        state = saved(cloud)
    cloud.close()
    paid = path.read_bytes()

    again = Moody("second")
    resumed = MeteredCloud(again, state, ReplyLog(path))
    for number in range(checkpoint, killed):
        assert (resumed.replies(questions(*BATCHES[number])), resumed.spend) == seen[number]
    assert again.requests == []
    assert path.read_bytes() == paid
    assert saved(resumed) == saved(cloud)

    for batch in BATCHES[killed:]:  # and on from there
        resumed.replies(questions(*batch))
    resumed.close()
    assert set(far.requests).isdisjoint(again.requests)
    assert len(far.requests) + len(again.requests) == resumed.spend.calls == 8
    entries = list(ReplyLog(path).entries())
    assert resumed.spend.dollars == pytest.approx(sum(entry.reply.dollars for entry in entries))


KILLED = """
import os, sys
from pathlib import Path
from tests.clouds.test_metered_log import Moody, questions
from understudy.clouds import MeteredCloud
from understudy.link import ReplyLog

class Deadly(Moody):
    async def answer(self, request):
        if request.question.prompt == "deadly":
            os._exit(9)
        return await super().answer(request)

cloud = MeteredCloud(Deadly("killed"), log=ReplyLog(Path(sys.argv[1])))
cloud.replies(questions("a", "bad b", "deadly", "c"))
"""


def test_replies_are_on_record_before_they_are_used_even_if_their_batch_is_killed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "replies.jsonl"
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], capture_output=True)
    assert done.returncode == 9, done.stderr.decode()
    far = Moody("resumed")
    cloud = MeteredCloud(far, log=ReplyLog(path))
    replies = cloud.replies(questions("a", "bad b", "deadly", "c"))
    assert far.requests == [("deadly", 0), ("c", 0)]
    assert [reply.text for reply in replies] == ["killed 1", None, "resumed 1", "resumed 2"]
    assert (cloud.spend.calls, cloud.spend.failed_calls) == (4, 1)
    cloud.close()


def test_a_state_with_a_log_does_not_grow_with_the_replies(tmp_path: Path) -> None:
    cloud = MeteredCloud(Moody("x"), log=ReplyLog(tmp_path / "replies.jsonl"))
    cloud.replies(questions("bad a"))
    before = cloud.state()
    cloud.replies(questions(*(f"question {i}" for i in range(100))))
    after = cloud.state()
    assert before.keys() == after.keys() == {"spend", "attempts", "lines", "uncounted"}
    assert (after["lines"], after["uncounted"]) == (101, [])
    assert after["attempts"] == before["attempts"] == [[Question.of("bad a").digest, 1]]
    cloud.close()


def test_what_is_paid_but_not_asked_yet_stays_paid_over_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    first = MeteredCloud(Moody("first"), log=ReplyLog(path))
    first.replies(questions("a", "b", "c"))
    first.close()
    second = MeteredCloud(Moody("second"), log=ReplyLog(path))
    assert second.replies(questions("d", "b"))[1].text == "first 2"
    state = saved(second)
    assert (state["lines"], state["uncounted"]) == (4, [0, 2])
    assert second.spend.calls == 2
    second.close()
    far = Moody("third")
    third = MeteredCloud(far, state, ReplyLog(path))
    texts = [reply.text for reply in third.replies(questions("a", "b", "c", "d"))]
    assert texts == ["first 1", "first 2", "first 3", "second 1"]
    assert far.requests == []
    assert (third.spend.calls, third.spend.cache_hits) == (4, 2)
    assert third.state()["uncounted"] == []
    third.close()


def test_what_is_said_before_and_how_an_answer_is_wanted_make_another_question(
    tmp_path: Path,
) -> None:
    path = tmp_path / "replies.jsonl"
    plain = Question.of("a")
    asked = [Question.of("a", "brief"), replace(plain, options=Options(max_tokens=5)), plain]
    cloud = MeteredCloud(Moody("x"), log=ReplyLog(path))
    first = cloud.replies([*asked, *asked])
    assert [reply.text for reply in first] == ["x 1", "x 2", "x 3"] * 2
    cloud.close()
    assert MeteredCloud(Moody("y"), log=ReplyLog(path)).replies(asked) == first[:3]


def test_a_checkpoint_that_counts_more_than_the_log_holds_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    cloud = MeteredCloud(Moody("x"), log=ReplyLog(path))
    cloud.replies(questions("a", "b"))
    state = saved(cloud)
    cloud.close()
    path.write_text(path.read_text().splitlines(keepends=True)[0])
    with pytest.raises(CheckpointError, match=r"counts 2 .* holds 1"):
        MeteredCloud(Moody("x"), state, ReplyLog(path))
    with pytest.raises(CheckpointError, match=r"counts 2 .* there is no log"):
        MeteredCloud(Moody("x"), state)


@pytest.mark.parametrize(
    "error", [OSError("the line is dead"), ValueError("no JSON"), KeyError("choices")]
)
def test_a_cloud_that_raises_fails_one_call_and_loses_no_batch(error: Exception) -> None:
    cloud = MeteredCloud(Raising(error))
    replies = cloud.replies(questions("a", "bad", "c"))
    assert [reply.text for reply in replies] == ["good", None, "good"]
    assert type(error).__name__ in (replies[1].error or "")
    assert (cloud.spend.calls, cloud.spend.failed_calls, cloud.spend.dollars) == (3, 1, 1.0)
    cloud.close()


@pytest.mark.parametrize("error", [TypeError("a defect"), ConfigError("no such model")])
@pytest.mark.parametrize("logged", [True, False])
def test_a_defect_is_raised_and_what_was_paid_beside_it_is_kept(
    tmp_path: Path, error: Exception, logged: bool
) -> None:
    far = Raising(error)
    cloud = MeteredCloud(far, log=ReplyLog(tmp_path / "replies.jsonl") if logged else None)
    with pytest.raises(type(error)):
        cloud.replies(questions("a", "bad", "c"))
    assert cloud.spend.calls == 0
    assert [reply.text for reply in cloud.replies(questions("a", "c"))] == ["good", "good"]
    assert far.asked == ["a", "bad", "c"]
    assert cloud.spend.calls == 2
    cloud.close()


def test_a_closed_meter_opens_again(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    cloud = MeteredCloud(Moody("x"), log=ReplyLog(path))
    for prompt in ("a", "b"):
        cloud.replies(questions(prompt))
        cloud.close()
    assert len(ReplyLog(path)) == 2
