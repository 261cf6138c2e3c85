"""A step's metrics as a line of the file, and back."""

from __future__ import annotations

import json

import pytest

from tests.offload.steps import quiet_step
from understudy.errors import RunError
from understudy.offload.steps import StepMetrics

LINE = quiet_step(
    rewards={"length": 0.5, "format": None},
    dual={"integral": 0.25},
    learnt={"loss": 0.1, "grad_norm": 2.0, "clip_ratio/low_mean": 0.0},
).to_line()


def test_a_line_has_its_keys_on_one_level_and_in_one_order() -> None:
    assert list(LINE)[:4] == ["step", "phase", "task", "reward"]
    assert list(LINE)[-6:] == [
        "rewards/length/mean",
        "rewards/format/mean",
        "dual/integral",
        "loss",
        "grad_norm",
        "clip_ratio/low_mean",
    ]
    assert (LINE["rewards/valid"], LINE["cloud/budget"]) == (1.0, 0.3)


def test_a_line_comes_back_byte_for_byte() -> None:
    text = json.dumps(LINE)
    step = StepMetrics.from_line(json.loads(text), "metrics.jsonl")
    assert step.rewards == {"length": 0.5, "format": None}
    assert json.dumps(step.to_line()) == text


def test_a_line_without_a_figure_is_refused_by_name() -> None:
    line = {key: value for key, value in LINE.items() if key != "cloud/calls"}
    with pytest.raises(RunError, match=r"metrics\.jsonl: cannot be read \(calls: "):
        StepMetrics.from_line(line, "metrics.jsonl")
