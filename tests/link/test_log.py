"""The log of replies: whole lines only, whatever happens to the process or the disk."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from understudy.errors import RunError
from understudy.link import Entry, ReplyLog
from understudy.types import Options, Question, Reply, Turn

TURNS = (Turn("user", "2 + 2 = ?"), Turn("assistant", "5"), Turn("user", "Sure?"))
ANSWERED = Entry(
    Question(TURNS, Options(9, stop=("#",))), 0, Reply("fo\nur – \u2028四", 8, 2, 0.1, 0.7)
)
FAILED = Entry(Question.of("3 + 3 = ?", "Be brief."), 2, Reply(None, seconds=30.0, error="timeout"))


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    log = ReplyLog(path)
    assert not path.exists()  # until there is a reply
    assert [log.append(ANSWERED), log.append(FAILED)] == [0, 1]
    read = [json.loads(line) for line in path.read_text().split("\n")[:-1]]  # without closing
    assert [line["messages"][-1]["content"] for line in read] == ["Sure?", "3 + 3 = ?"]
    again = ReplyLog(path)
    assert list(again.entries()) == list(log.entries()) == [ANSWERED, FAILED]
    assert again.append(FAILED) == 2
    log.close()
    again.close()
    again.append(ANSWERED)  # opens again
    again.close()
    assert list(ReplyLog(path).entries()) == [ANSWERED, FAILED, FAILED, ANSWERED]


@pytest.mark.parametrize("kept", range(0, 60, 7))
def test_a_half_written_line_is_dropped_and_written_over(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "replies.jsonl"
    log = ReplyLog(path)
    log.append(ANSWERED)
    whole = path.read_bytes()
    log.append(FAILED)
    log.close()
    path.write_bytes(path.read_bytes()[: len(whole) + kept])
    log = ReplyLog(path)
    assert list(log.entries()) == [ANSWERED]
    log.append(FAILED)
    log.close()
    assert list(ReplyLog(path).entries()) == [ANSWERED, FAILED]


@pytest.mark.parametrize(
    "line", ["{oh", "[1]", '"x"', '{"messages": []}', '{"messages": [], "attempt": 0, "x": 1}']
)
def test_a_line_that_is_no_reply_is_refused_by_its_number(tmp_path: Path, line: str) -> None:
    path = tmp_path / "replies.jsonl"
    log = ReplyLog(path)
    log.append(ANSWERED)
    log.close()
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(RunError, match=r"replies\.jsonl: cannot be read \(line 2 "):
        list(ReplyLog(path).entries())


def test_a_path_that_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be read"):
        ReplyLog(tmp_path)


FULL_DISK = """
import resource, sys
from pathlib import Path
from tests.link.test_log import ANSWERED, FAILED
from understudy.errors import RunError
from understudy.link import ReplyLog

log = ReplyLog(Path(sys.argv[1]))
log.append(ANSWERED)
room = log.path.stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (room + 20, resource.RLIM_INFINITY))
try:
    log.append(FAILED)  # only 20 bytes of it fit
except RunError as error:
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    log.append(FAILED)
    print("refused")
"""


def test_a_full_disk_leaves_no_half_line_before_the_next(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("refused\n", "")
    assert list(ReplyLog(path).entries()) == [ANSWERED, FAILED]
