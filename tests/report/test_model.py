"""What `understudy env MODEL` says beyond the figures of a trial."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.offload.runs import config_of
from understudy.models.described import describe
from understudy.report.model import ModelReport


@pytest.mark.parametrize(
    ("phases", "tasks"),
    [
        (({"steps": 2}, {"steps": 9}), 1),
        (({"budget": 0.1}, {"budget": 0.5}), 2),  # examined at another budget
        (({"families": "facts"}, {"families": "strings"}, {"families": "facts"}), 2),
    ],
)
def test_a_task_that_comes_back_is_examined_once(
    phases: tuple[dict[str, object], ...], tasks: int, tmp_path: Path
) -> None:
    stream = [{"families": "facts", "levels": [1, 1], "steps": 2} | each for each in phases]
    config = config_of("understudy", Path("tiny"), stream=stream)
    report = ModelReport(describe("tiny"), config, frozenset(), None, None)
    assert report.examined_questions == tasks * (6 + 8) * (len(phases) + 1)
