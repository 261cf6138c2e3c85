"""How much a fitted router asks, turned by a dial."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from understudy.errors import ConfigError
from understudy.routing.calibration import (
    CALIBRATION,
    Calibration,
    Calibrations,
    at_threshold,
    read_calibrations,
)
from understudy.routing.router import FARTHEST, build_router, chosen_router


def router(kind: str = "calibrated", **fitted: Any) -> Any:
    return replace(build_router(chosen_router(kind)), **fitted)  # type: ignore[type-var]


TEN = Calibration(router(threshold=4.5, budget=0.3), tuple(float(n) for n in range(10)))


@pytest.mark.parametrize(
    ("dial", "above"),
    [(None, 5), (0.0, 0), (0.1, 1), (0.29, 2), (0.3, 3), (0.95, 9), (1.0, 10)],
)
def test_the_dial_is_the_share_that_would_be_asked(dial: float | None, above: int) -> None:
    threshold = TEN.turned(dial).threshold
    assert sum(score > threshold for score in TEN.scores) == above


def test_equal_scores_are_asked_together_or_not_at_all() -> None:
    ties = Calibration(router(), (1.0, 1.0, 1.0, 0.0))
    assert sum(score > ties.turned(0.5).threshold for score in ties.scores) == 0
    assert sum(score > ties.turned(0.75).threshold for score in ties.scores) == 3


def test_a_share_at_random_is_turned_too() -> None:
    turned: Any = Calibration(router("random", budget=0.3), (0.0, 0.0)).turned(0.6)
    assert turned.budget == 0.6


def test_a_threshold_may_be_given() -> None:
    assert at_threshold(router(), 2.5).turned(None).threshold == 2.5
    assert at_threshold(router(), 2.5).turned(0.0).threshold == FARTHEST


def test_a_router_without_a_threshold_has_no_dial() -> None:
    with pytest.raises(ConfigError, match="no threshold that can be set"):
        at_threshold(object(), 1.0)  # type: ignore[arg-type]


def test_it_is_kept_beside_a_model(tmp_path: Path) -> None:
    assert read_calibrations(tmp_path) is None
    record = {"tasks": {"sums": TEN.to_json()}, "usual": "sums"}
    (tmp_path / CALIBRATION).write_text(json.dumps(record))
    found = read_calibrations(tmp_path)
    assert found is not None
    assert found.of("").router.threshold == 4.5
    assert sorted(found.of("sums").scores) == sorted(TEN.scores)


@pytest.mark.parametrize("content", ["{", "[]", '{"tasks": {}, "usual": "sums"}'])
def test_a_file_that_is_broken_is_said(tmp_path: Path, content: str) -> None:
    (tmp_path / CALIBRATION).write_text(content)
    with pytest.raises(ConfigError, match=CALIBRATION):
        read_calibrations(tmp_path)


def test_a_task_that_is_not_known_is_as_usual() -> None:
    both = Calibrations({"a": TEN, "b": replace(TEN, scores=())}, "b")
    assert both.of("a") is TEN
    assert both.of("c").scores == ()
