"""What `understudy env MODEL` says beyond the figures of a trial."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.offload.runs import config_of
from understudy.models.described import describe
from understudy.offload.trial import Estimate, Trial
from understudy.report.model import ModelReport


def test_what_single_trials_lead_to_is_said_and_the_largest_trial_named() -> None:
    trial = Trial(4, 8, 50.0, 8.0, 0.0, 1.0, 2.0, 0.5, 1000, 1100, 1200)
    config = config_of("understudy", Path("tiny"))
    estimate = Estimate(1.0, 2.0, 0.5, 1200, (trial, replace(trial, prompts=2)))
    for between, words in ((None, "2 s to learn)"), ((2.5, 4.0), "by single trials 2.5 s to 4 s")):
        found = replace(estimate, seconds_between=between)
        lines = list(ModelReport(describe("tiny"), config, frozenset(), found, None).lines())
        assert any(line.startswith("a step of") and line.endswith(words) for line in lines)
        assert any("4 prompts of 50 tokens" in line for line in lines)


def test_a_busy_machine_is_said() -> None:
    trial = Trial(2, 8, 50.0, 8.0, 0.0, 1.0, 2.0, 0.5, 1000, 1100, 1200)
    free = Estimate(1.0, 2.0, 0.5, 1200, (trial,), trial_seconds=4.0, processor_seconds=3.9)
    config = config_of("understudy", Path("tiny"))

    def says(estimate: Estimate) -> bool:
        report = ModelReport(describe("tiny"), config, frozenset(), estimate, None)
        return "the machine was busy: the trials lasted 40 s and had 9 s" in "\n".join(
            report.lines()
        )

    assert not says(free)
    assert not says(replace(free, trial_seconds=40.0, processor_seconds=160.0))  # four threads
    assert says(replace(free, trial_seconds=40.0, processor_seconds=9.0))
