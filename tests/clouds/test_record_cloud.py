"""bench/record_cloud.py: what it records is paid once, within caps, and answers a run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clouds.test_recorded import recorded
from understudy.clouds.record import read_record
from understudy.tasks import open_tasks
from understudy.tasks.data import DataConfig

TOOL = Path(__file__).parents[2] / "bench" / "record_cloud.py"
CLOUD = """
from understudy.clouds.settings import CloudSettings
from understudy.types import Cost, Reply

class Shouting:
    class Settings(CloudSettings):
        kind: str = "shouting"
        calls: str

    def __init__(self, settings, key):
        self.calls = settings.calls

    async def answer(self, request):
        with open(self.calls, "a") as file:
            file.write(request.question.prompt + "\\\\n")
        return Reply("ham", 10, 1, 0.5)

    def estimate(self, question):
        return Cost(1, 10, 1, dollars=0.5)
""".replace("\\\\n", "\\n")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    rows = [(f"text {i}", "spam" if i % 4 == 0 else "ham") for i in range(40)]
    data = tmp_path / "sms.csv"
    data.write_text("label,sms\n" + "".join(f"{label},{text}\n" for text, label in rows))
    (tmp_path / "cloud.py").write_text(CLOUD)
    path = tmp_path / "config.yaml"
    cloud = {"kind": f"{tmp_path}/cloud.py:Shouting", "calls": str(tmp_path / "calls")}
    path.write_text(json.dumps({"data": {"sms": {"path": str(data)}}, "cloud": cloud}))
    return path


def run_tool(config: Path, out: Path, *arguments: str) -> str:
    command = [sys.executable, str(TOOL), "--config", str(config), "--out", str(out), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_a_cap_stops_it_the_next_command_goes_on_and_nothing_is_asked_twice(
    config: Path, tmp_path: Path
) -> None:
    out, calls = tmp_path / "replies.jsonl.gz", tmp_path / "calls"
    assert "max_dollars is reached" in run_tool(config, out, "--max-dollars", "8")
    assert len(calls.read_text().splitlines()) == len(list(read_record(out))) == 16
    assert not (tmp_path / "replies.jsonl.gz.log").exists()
    said = run_tool(config, out, "--json", str(tmp_path / "figures.json"))
    asked = calls.read_text().splitlines()
    assert len(asked) == len(set(asked)) == 40
    assert "one label always: " in said
    figures = json.loads((tmp_path / "figures.json").read_text())["rows"]
    assert sum(row["right"] for row in figures) == 30
    for row in figures:  # it answers ham to all
        assert row["accuracy"] == row["constant"] == row["right"] / row["recorded"]
        assert row["macro_f1"] < row["constant"]
    assert sum(row["dollars"] for row in figures) == 20
    questions = open_tasks({"sms": DataConfig(path=str(tmp_path / "sms.csv"))}).families["sms"]
    cloud = recorded(out)
    for split in ("train", "validation", "test"):
        for problem in questions.questions[split]:  # type: ignore[union-attr]
            assert cloud.estimate(problem.question).dollars == 0.5


def test_a_log_that_a_killed_recording_left_is_paid_for(config: Path, tmp_path: Path) -> None:
    out, calls = tmp_path / "replies.jsonl", tmp_path / "calls"
    run_tool(config, out, "--splits", "test")
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    left = [{k: v for k, v in line.items() if k != "digest"} | {"attempt": 0} for line in lines]
    (tmp_path / "replies.jsonl.log").write_text("".join(json.dumps(each) + "\n" for each in left))
    content = out.read_bytes()
    out.unlink()
    asked = calls.read_bytes()
    run_tool(config, out, "--splits", "test")
    assert (out.read_bytes(), calls.read_bytes()) == (content, asked)


def test_it_may_keep_digests_alone_and_a_few_questions(config: Path, tmp_path: Path) -> None:
    out = tmp_path / "replies.jsonl"
    run_tool(config, out, "--questions", "3", "--without-questions")
    assert "text " not in out.read_text()
    assert len(recorded(out)) == 9
