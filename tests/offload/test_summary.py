"""The summary of a run of two phases, by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from understudy.clouds import MeteredCloud, SimulatedCloud
from understudy.link import Spend
from understudy.offload.summary import summarise
from understudy.tasks import KeyOfDrawn


def line(step: int, phase: int, rate: float, system: float, correlation: Any) -> dict[str, Any]:
    return {
        "step": step,
        "phase": phase,
        "task": ("facts", "sums")[phase - 1],
        "cloud/ask_rate": rate,
        "cloud/budget": (0.3, 0.5)[phase - 1],
        "cloud/ask_level_correlation": correlation,
        "system_accuracy": system,
    }


def row(after: int, *local: float) -> dict[str, Any]:
    names = ("system", "calibrated_system", "cloud", "ask_rate")
    names += ("own_ask_rate", "calibrated_ask_rate")
    cells = [{"local": v, **dict.fromkeys(names, v + 0.1)} for v in local]
    return {"after_phase": after, "tasks": cells}


def bill(spend: Spend) -> MeteredCloud:
    cloud = MeteredCloud(SimulatedCloud({}, (1.0,) * 5, 0.8, 0.5, 2.0, 0, KeyOfDrawn()))
    cloud.spend = spend
    return cloud


@pytest.fixture
def summary() -> dict[str, Any]:
    lines = [
        line(1, 1, 0.6, 0.2, None),
        line(2, 1, 0.2, 0.4, 0.5),
        line(3, 2, 0.0, 0.6, None),
        line(4, 2, 1.0, 0.8, -0.1),
    ]
    matrix = [row(0, 0.1, 0.2), row(1, 0.7, 0.3), row(2, 0.4, 0.8)]
    spent = bill(Spend(5, 1, 2, 30, 12, 0.25, 4.5))
    return summarise(lines, matrix, spent, bill(Spend()))


def test_continual_metrics_are_those_of_the_matrix(summary: dict[str, Any]) -> None:
    local = summary["local"]
    assert local["average_accuracy"] == pytest.approx((0.4 + 0.8) / 2)
    assert local["learning_accuracy"] == pytest.approx((0.7 + 0.8) / 2)
    assert local["backward_transfer"] == pytest.approx(0.4 - 0.7)
    assert local["forgetting"] == pytest.approx(0.7 - 0.4)
    assert local["forward_transfer"] == pytest.approx(0.3 - 0.2)
    assert summary["system"]["average_accuracy"] == pytest.approx((0.5 + 0.9) / 2)


def test_every_phase_has_its_own_asking_and_its_own_cell(summary: dict[str, Any]) -> None:
    first, second = summary["phases"]
    assert (first["phase"], first["task"], first["budget"]) == (1, "facts", 0.3)
    assert first["training"]["mean"] == pytest.approx(0.4)
    assert first["training"]["settled_mean"] == pytest.approx(0.2)
    assert first["training"]["share_over_budget"] == pytest.approx(0.5)
    assert first["training"]["switch_overshoot"] == pytest.approx(0.3)
    assert first["training_system_accuracy"] == pytest.approx(0.3)
    assert first["evaluation"]["local"] == pytest.approx(0.7)
    assert second["evaluation"]["local"] == pytest.approx(0.8)
    assert second["training"]["deviation"] == pytest.approx(0.5)
    assert (second["training"]["longest_silent"], second["training"]["longest_saturated"]) == (1, 1)


def test_the_bill_and_the_rest(summary: dict[str, Any]) -> None:
    assert summary["steps"] == 4
    assert summary["ask_level_correlation"] == pytest.approx(0.2)
    assert summary["spend"] == {
        "calls": 5,
        "failed_calls": 1,
        "cache_hits": 2,
        "tokens": 42,
        "dollars": 0.25,
        "seconds": 4.5,
    }
    assert summary["evaluation_spend"]["calls"] == 0


def test_what_one_phase_leaves_undefined_is_null() -> None:
    lines = [line(1, 1, 0.3, 0.2, None)]
    summary = summarise(lines, [row(0, 0.1), row(1, 0.7)], bill(Spend()), bill(Spend()))
    assert summary["local"]["forgetting"] is None
    assert summary["local"]["average_accuracy"] == pytest.approx(0.7)
    assert summary["ask_level_correlation"] is None
    strict = json.dumps(summary, allow_nan=False)
    assert json.loads(strict) == summary
