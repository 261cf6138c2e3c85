"""The summary of a run of two phases, by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.offload.steps import quiet_step
from understudy.link import Spend
from understudy.metrics import wilson_interval
from understudy.offload.records import Cell, MatrixRow
from understudy.offload.steps import StepMetrics
from understudy.offload.summary import summarise


def step(
    number: int, phase: int, rate: float, system: float, correlation: float | None
) -> StepMetrics:
    return quiet_step(
        step=number,
        phase=phase,
        task=("facts", "sums")[phase - 1],
        ask_rate=rate,
        budget=(0.3, 0.5)[phase - 1],
        ask_level_correlation=correlation,
        system_accuracy=system,
    )


def row(after: int, *local: float) -> MatrixRow:
    cells = tuple(
        Cell(
            local=v,
            system=v + 0.1,
            ask_rate=v + 0.1,
            cloud=v + 0.1,
            own_ask_rate=v + 0.1,
            own_system=v + 0.1,
            calibrated_ask_rate=v + 0.1,
            calibrated_system=v + 0.1,
            threshold=0.0,
            curve=(v, v + 0.1),
            questions=30,
            cloud_answers=30,
            router_tokens=0,
        )
        for v in local
    )
    return MatrixRow(after, 2 * after, cells, 50)


@pytest.fixture
def summary() -> dict[str, Any]:
    steps = [
        step(1, 1, 0.6, 0.2, None),
        step(2, 1, 0.2, 0.4, 0.5),
        step(3, 2, 0.0, 0.6, None),
        step(4, 2, 1.0, 0.8, -0.1),
    ]
    matrix = [row(0, 0.1, 0.2), row(1, 0.7, 0.3), row(2, 0.4, 0.8)]
    return summarise(steps, matrix, Spend(5, 1, 2, 30, 12, 0.25, 4.5), Spend()).to_json()


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


def test_it_begins_as_the_summary_of_every_loop(summary: dict[str, Any]) -> None:
    assert list(summary)[:3] == ["quality", "cost", "per_user"]
    low, high = wilson_interval(0.7 * 50, 50)  # the end: 0.5 and 0.9, on 50 different questions
    assert summary["quality"] == pytest.approx({"mean": 0.7, "low": low, "high": high})
    assert summary["per_user"] == pytest.approx([0.5, 0.9])
    assert summary["cost"]["calls"] == 5
    assert (summary["cost"]["prompt_tokens"], summary["cost"]["dollars"]) == (30, 0.25)


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
        "retries": 0,
        "unknown_calls": 0,
        "unknown_dollars": 0.0,
    }
    assert summary["evaluation_spend"]["calls"] == 0


def test_what_one_phase_leaves_undefined_is_null() -> None:
    steps = [step(1, 1, 0.3, 0.2, None)]
    summary = summarise(steps, [row(0, 0.1), row(1, 0.7)], Spend(), Spend()).to_json()
    assert summary["local"]["forgetting"] is None
    assert summary["local"]["average_accuracy"] == pytest.approx(0.7)
    assert summary["ask_level_correlation"] is None
    strict = json.dumps(summary, allow_nan=False)
    assert json.loads(strict) == summary
