"""Routing metrics on RouteLLM's GSM8K answers, beside the figures known for them.

UNDERSTUDY_DATA names the folder that holds routellm-gsm8k/gsm8k_responses.csv; without it the
folder shared/data beside the checkout is tried. Not part of the project: skipped when absent.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from understudy import metrics

BESIDE = Path(__file__).resolve().parents[3] / "shared" / "data"
FILE = Path(os.environ.get("UNDERSTUDY_DATA", BESIDE)) / "routellm-gsm8k" / "gsm8k_responses.csv"
WEAK, STRONG = "mistralai/Mixtral-8x7B-Instruct-v0.1", "gpt-4-1106-preview"

pytestmark = pytest.mark.skipif(not FILE.is_file(), reason=f"no {FILE}; set UNDERSTUDY_DATA")


@pytest.fixture(scope="module")
def answers() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Prompt length in characters, weak right, strong right; each (1319,)."""
    with FILE.open(newline="", encoding="utf-8") as file:
        rows = [
            (len(row["prompt"]), row[WEAK] == "True", row[STRONG] == "True")
            for row in csv.DictReader(file)
        ]
    length, weak, strong = np.array(rows, dtype=np.float64).T
    return length, weak, strong


def test_accuracies(answers: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    _, weak, strong = answers
    assert weak.mean() == pytest.approx(0.637, abs=0.003)
    assert strong.mean() == pytest.approx(0.858, abs=0.003)
    assert np.maximum(weak, strong).mean() == pytest.approx(0.930, abs=0.003)


def test_areas(answers: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    length, weak, strong = answers
    shares = np.linspace(0, 1, weak.size + 1)
    ends = float(weak.mean()), float(strong.mean())
    chance = np.random.default_rng(0).random(weak.size)
    by_length = metrics.deferral_curve(length, weak, strong, shares)
    by_chance = metrics.deferral_curve(chance, weak, strong, shares)
    oracle = metrics.oracle_curve(weak, strong, shares)
    assert metrics.apgr(shares, by_length, *ends) == pytest.approx(0.60, abs=0.01)
    assert metrics.apgr(shares, by_chance, *ends) == pytest.approx(0.50, abs=0.06)
    assert metrics.apgr(shares, oracle, *ends) == pytest.approx(1.12, abs=0.01)
