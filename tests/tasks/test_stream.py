"""Streams: shipped ones load, questions depend on their key alone, mistakes are named."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.checks import TASKS
from understudy.errors import ConfigError
from understudy.tasks import FAMILIES, split_of
from understudy.tasks.stream import Phase, load_stream, shipped_streams

GENERATED = ("changing-budget", "demo", "switching")  # those that need no data


def test_every_shipped_stream_loads_and_switches() -> None:
    assert shipped_streams() == ["changing-budget", "demo", "real", "switching"]
    for name in GENERATED:
        phases = load_stream(name)
        assert len(phases) == 5
        for before, after in pairwise(phases):
            assert before.families != after.families
        assert all(TASKS.batch(phase, 3, "train", "key") for phase in phases)


def test_the_budget_changes_only_where_it_says() -> None:
    budgets = {name: [phase.budget for phase in load_stream(name)] for name in GENERATED}
    assert budgets["switching"] == budgets["demo"] == [None] * 5
    assert len(set(budgets["changing-budget"])) == 5


@pytest.mark.parametrize(
    ("families", "shares"),
    [
        ("sums", {"sums": 1.0}),
        (["sums", "facts"], {"sums": 1.0, "facts": 1.0}),
        ({"sums": 3, "facts": 0.5}, {"sums": 3.0, "facts": 0.5}),
    ],
)
def test_families_are_a_name_names_or_shares(families: Any, shares: dict[str, float]) -> None:
    phase = Phase.model_validate({"families": families})
    assert phase.families == shares
    assert phase.name == "+".join(shares)


def test_batches_depend_on_their_key_alone() -> None:
    phase = Phase.model_validate({"families": ["sums", "stories"]})
    first = TASKS.batch(phase, 20, "train", "seed 1 step 7")
    random.seed(99)
    random.random()
    assert TASKS.batch(phase, 20, "train", "seed 1 step 7") == first
    assert TASKS.batch(phase, 20, "train", "seed 1 step 8") != first
    assert TASKS.batch(phase, 5, "train", "seed 1 step 7") == first[:5]


def test_a_batch_keeps_to_its_split_families_and_levels() -> None:
    phase = Phase.model_validate({"families": {"sums": 1, "strings": 3}, "levels": (2, 4)})
    problems = TASKS.batch(phase, 800, "validation", "k")
    assert {problem.level for problem in problems} == {2, 3, 4}
    assert all(split_of(problem.family, problem.prompt) == "validation" for problem in problems)
    share = Counter(problem.family for problem in problems)["strings"] / len(problems)
    assert share == pytest.approx(0.75, abs=0.06)


def test_an_exam_asks_every_family_and_level_equally_often() -> None:
    phase = Phase.model_validate({"families": list(FAMILIES), "levels": (1, 5)})
    problems = TASKS.exam(phase, len(FAMILIES) * 10, "test", "k")
    counts = Counter((problem.family, problem.level) for problem in problems)
    assert counts == {(name, level): 2 for name in FAMILIES for level in range(1, 6)}
    assert all(split_of(problem.family, problem.prompt) == "test" for problem in problems)
    assert problems == TASKS.exam(phase, len(FAMILIES) * 10, "test", "k")


def test_an_exam_follows_the_shares() -> None:
    phase = Phase.model_validate({"families": {"sums": 3, "facts": 1}})
    counts = Counter(problem.family for problem in TASKS.exam(phase, 40, "test", "k"))
    assert counts == {"sums": 30, "facts": 10}


@pytest.mark.parametrize(
    ("phase", "words"),
    [
        ({"families": "poems"}, ["phase 2", "families", "poems", "sums"]),
        ({"families": []}, ["phase 2", "at least one"]),
        ({"families": {}}, ["phase 2", "at least one"]),
        ({"families": 3}, ["phase 2", "families"]),
        ({"families": {"sums": 0}}, ["phase 2", "sums", "above 0"]),
        ({"families": {"sums": -1}}, ["phase 2", "sums"]),
        ({"families": {"sums": float("nan")}}, ["phase 2", "sums"]),
        ({"families": {"sums": float("inf")}}, ["phase 2", "sums"]),
        ({"families": [["sums"]]}, ["phase 2", "families", "['sums']"]),
        ({"families": "sums", "levels": [4, 2]}, ["phase 2", "levels", "[4, 2]"]),
        ({"families": "sums", "levels": [0, 5]}, ["phase 2", "levels"]),
        ({"families": "sums", "levels": [1, 6]}, ["phase 2", "levels"]),
        ({"families": "sums", "steps": 0}, ["phase 2", "steps"]),
        ({"families": "sums", "budget": 1.5}, ["phase 2", "budget"]),
        ({"families": "sums", "bugdet": 0.5}, ["phase 2", "bugdet"]),
        ("sums", ["phase 2"]),
        (None, ["phase 2"]),
    ],
)
def test_a_wrong_phase_is_refused_in_one_line(phase: Any, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_stream([{"families": "sums"}, phase])
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize("text", ["", "sums", "{}", "[]", "[{families: sums}", "a: b: c", "\x00"])
def test_a_file_that_is_no_stream_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="stream") as caught:
        load_stream(str(path))
    assert "\n" not in str(caught.value)


def test_a_stream_of_ones_own_is_read_from_its_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("- {families: {sums: 2, facts: 1}, steps: 3, budget: 0.25, levels: [1, 2]}\n")
    (phase,) = load_stream(str(path))
    assert (phase.steps, phase.budget, phase.levels) == (3, 0.25, (1, 2))


@pytest.mark.parametrize("name", ["swtiching", "", ".", "/nowhere/mine.yaml"])
def test_an_unknown_stream_names_those_that_ship(name: str) -> None:
    with pytest.raises(ConfigError, match="switching"):
        load_stream(name)


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"\xff\xfe\x80")
    with pytest.raises(ConfigError, match="stream"):
        load_stream(str(path))
