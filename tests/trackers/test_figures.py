"""What trackers are given: numbers of a line, and settings without secrets."""

from __future__ import annotations

import doctest
import json
from typing import Any

import pytest

from understudy.offload.records import Cell, MatrixRow, examination_metrics
from understudy.trackers import figures
from understudy.trackers.figures import HIDDEN, without_secrets


def test_the_examples_are_right() -> None:
    found = doctest.testmod(figures)
    assert found.attempted
    assert not found.failed


def test_what_is_no_number_is_left_out() -> None:
    line = {"text": "a", "flag": True, "none": None, "nan": float("nan"), "empty": [[], []]}
    assert figures.figures(line | {"kept": 0}) == {"kept": 0}
    assert figures.figures({"accuracy": [[0.5, None], [1.0, 0.0]]}) == {"accuracy": 0.5}


@pytest.mark.parametrize(
    "settings",
    [
        {"api_key": "sk-hidden"},
        {"headers": {"Authorization": "Bearer sk-hidden"}},
        {"extra_body": {"user": {"x-api-key": "sk-hidden"}}},
        {"clouds": [{"apiKey": "sk-hidden"}]},
        {"hf_token": "sk-hidden", "client_secret": "sk-hidden", "password": "sk-hidden"},
        {"base_url": "https://me:sk-hidden@example.com/v1"},
        {"base_url": "https://sk-hidden@example.com/v1"},
        {"base_url": "https://example.com/v1?key=sk-hidden#sk-hidden"},
        {"path": "see https://example.com/?sk-hidden and http://[sk-hidden"},
    ],
)
def test_a_secret_is_not_shown(settings: dict[str, Any]) -> None:
    shown = json.dumps(without_secrets(settings))
    assert "sk-hidden" not in shown
    assert HIDDEN in shown


def test_other_settings_are_shown_as_they_are() -> None:
    settings = {
        "api_key_env": "OPENAI_API_KEY",
        "api_key_file": "key.txt",
        "max_tokens": 16,
        "base_url": "http://127.0.0.1:8080/v1",
        "key": None,
        "seeds": [0, 1],
    }
    assert without_secrets(settings) == settings


def cell(local: float) -> Cell:
    return Cell(local, 0.5, 0.25, None, 0, 0, 0, 0, 0, (), 4, 0, 0)


def test_an_examination_is_named_as_several_data_sets_are() -> None:
    one, other = cell(0.1), cell(0.2)
    row = MatrixRow(1, 7, (one, one, other), 4)
    found = examination_metrics(row, ["sums", "sums", "facts"])
    assert found["eval_sums_local"] == 0.1
    assert found["eval_facts_local"] == 0.2
    assert found["eval_facts_cloud"] is None
    assert {name.rsplit("_", 1)[0] for name in found} >= {"eval_sums", "eval_facts"}
    assert len(found) == 2 * 5
    again = examination_metrics(MatrixRow(1, 7, (one, other), 4), ["sums", "sums"])
    assert (again["eval_sums_local"], again["eval_sums_2_local"]) == (0.1, 0.2)
