"""The study on real models: its questions out of the public files, and its tables by hand."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from bench import real_tables
from bench.real import data, study
from understudy.tasks.data import DataConfig, load_data

ROOT = Path(__file__).parents[2]


def write_sms(folder: Path, spam: int, ham: int) -> None:
    lines = [f"spam\tcall {i} now" for i in range(spam)] + [
        f"ham\tsee you at {i}" for i in range(ham)
    ]
    (folder / "sms-spam").mkdir()
    (folder / "sms-spam" / "SMSSpamCollection").write_text("\n".join(lines) + "\n")


def test_as_many_messages_of_each_kind_in_every_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_sms(tmp_path, 350, 3000)
    monkeypatch.setenv("UNDERSTUDY_DATA", str(tmp_path))
    found = data.spam()
    assert {split: len(rows) for split, rows in found.items()} == {
        "test": 400,
        "validation": 100,
        "train": 200,
    }
    for rows in found.values():
        junk = sum(row["label"] == "spam" for row in rows) / len(rows)
        assert 0.35 < junk < 0.65
    texts = [row["text"] for rows in found.values() for row in rows]
    assert len(set(texts)) == 700


def test_intents_have_plain_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "banking77").mkdir()
    kinds = [*data.BANK, "card_swallowed"]
    for name in ("train.csv", "test.csv"):
        with (tmp_path / "banking77" / name).open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["text", "category"])
            rows.writerows([f"{name} {i}, please", kinds[i % len(kinds)]] for i in range(220))
    monkeypatch.setenv("UNDERSTUDY_DATA", str(tmp_path))
    path = f"{ROOT / 'bench' / 'real' / 'data.py'}:bank"
    found = load_data("bank", DataConfig(path=path, form="label"))
    assert set(found.checker.labels) == set(data.BANK.values())
    assert sum(map(len, found.questions.values())) == 400


def test_the_configurations_name_data_that_exist() -> None:
    for name in {cell.config for cell in study.cells()}:
        config = yaml.safe_load((ROOT / "bench" / "real" / name).read_text())
        families = [phase["families"] for phase in config["stream"]]
        assert families == list(config["data"])
        for each in config["data"].values():
            assert callable(getattr(data, each["path"].rpartition(":")[2]))


def test_no_two_runs_have_one_name() -> None:
    files = [cell.file for cell in study.cells()]
    assert len(set(files)) == len(files)


def run(seed: int, right: list[int], name: str = "mine") -> dict[str, Any]:
    """Two phases of one task each; task b is as it was before."""
    columns = {
        "local_right": right,
        "cloud_right": [1, 1, 0, 0],
        "asked": [1.0, 0.0, 0.0, 0.0],
        "margin": [2.0, 1.0, 0.5, 0.1],
        "mean_entropy": [0.1, 0.9, 0.2, 0.3],
        "digest": ["a", "b", "c", "d"],
    }
    cell = {"macro_f1": 0.5, "constant": 0.5}
    before = {**columns, "local_right": [0, 0, 0, 0]}
    return {
        "cell": {"name": name, "seed": seed, "config": "smollm2.yaml"},
        "matrix": [{"tasks": [cell, cell]}] * 3,
        "responses": 64,
        "summary": {
            "phases": [
                {"budget": 0.3, "warm_start_usage": 0.02},
                {"budget": 0.2, "warm_start_usage": 0.0},
            ]
        },
        "steps": {
            "phase": [1, 1, 2, 2],
            "cloud/ask_rate": [0.9, 0.25, 0.0, 0.0],
        },
        "examinations": {
            "phase-0": {"a": before, "b": before},
            "phase-1": {"a": columns, "b": before},
            "phase-2": {"a": before, "b": columns},
        },
    }


def test_what_is_forgotten_is_what_was_right_after_its_own_phase() -> None:
    _, rows = real_tables.accuracy_table({"mine": [run(0, [0, 0, 1, 1]), run(1, [0, 0, 1, 0])]})
    first, second = (dict(zip(_header(), row, strict=True)) for row in rows)
    assert (first["task"], first["seeds"], first["untrained"]) == ("a", "2", "0.00")
    assert first["after its phase"].startswith("0.38 [")
    assert first["at the end"].startswith("0.00 [")
    assert first["forgotten"].startswith("+0.375 [")
    assert second["forgotten"].startswith("+0.000 [")


def test_asking_is_held_against_random_calls_and_entropy_at_its_own_share() -> None:
    header, rows = real_tables.asking_table({"mine": [run(0, [0, 0, 1, 1])]})
    row = dict(zip(header, rows[0], strict=True))
    assert (row["task"], row["budget"]) == ("a", "0.3")
    # The second half of its phase, which is 16 of 64 responses; before it a warm start.
    assert row["asked in training"] == "0.25 [0.16, 0.37] + 0.02"
    assert row["asked as served"].startswith("0.25 [")
    # Local 2 of 4, and the one that asked is mended: 3 of 4. A quarter of random calls moves
    # the mean by a quarter of the gain, which is +2 - 2 = 0 of 4. Entropy asks the second
    # question, which is mended too.
    assert row["system"].startswith("0.75 [")
    assert row["over random calls"].startswith("+0.250 [")
    assert row["over entropy"].startswith("+0.000 [")


def test_what_another_recipe_lacks_is_counted_question_by_question() -> None:
    mine = [run(0, [1, 1, 1, 1], "understudy"), run(1, [1, 1, 1, 1], "understudy")]
    header, rows = real_tables.rivals_table(
        {"understudy": mine, "other": [run(1, [0, 0, 1, 1], "other")]}
    )
    row = dict(zip(header, rows[0], strict=True))
    assert (row["understudy less"], row["task"], row["seeds"]) == ("other", "a", "1")
    assert row["local after its phase"].startswith("+0.500 [")
    assert row["local at the end"] == "+0.000 [+0.000, +0.000]"
    assert row["forgotten"].startswith("+0.500 [")


def test_questions_of_several_runs_stand_under_each_other() -> None:
    one, other = run(0, [1, 0, 1, 0]), run(1, [0, 1, 0, 1])
    other["examinations"]["phase-1"]["a"]["digest"] = ["e", "d", "a", "b"]
    found = real_tables.of_questions([one, other], 1, "a", "local_right")
    nan = np.nan
    np.testing.assert_array_equal(found, [[1, 0, 1, 0, nan], [0, 1, nan, 1, 0]])


def test_a_question_seen_in_all_runs_counts_as_one_question() -> None:
    """The interval of three equal runs of 100 questions is as wide as that of one run."""
    answers = np.array([[1.0, 0.0] * 50])
    one, three = (real_tables.bootstrap(each) for each in (answers, answers.repeat(3, axis=0)))
    assert one == pytest.approx(three, abs=0.02)
    assert one == pytest.approx((0.40, 0.60), abs=0.02)  # 1.96 * sqrt(0.25 / 100)


def test_runs_that_differ_widen_the_interval() -> None:
    answers = np.stack((np.ones(1000), np.zeros(1000)))
    assert real_tables.bootstrap(answers) == (0.0, 1.0)


def test_ties_of_a_score_go_to_the_first() -> None:
    asked = np.array([[1.0, 1.0, 0.0, 0.0, np.nan]])
    chosen = real_tables.highest(np.array([[0.5, 0.5, 0.1, 0.5, 0.9]]), asked)
    np.testing.assert_array_equal(chosen, [[1.0, 1.0, 0.0, 0.0, np.nan]])


def test_the_correlation_is_pearsons() -> None:
    asked = np.array([[1.0, 1.0, 0.0, 0.0] * 25])
    gain = np.array([[1.0, 0.0, 0.0, 0.0] * 25])
    found = real_tables.correlation(asked, gain)
    assert found.startswith("+0.58 [")
    low, high = map(float, found[7:-1].split(", "))
    assert (low, high) == pytest.approx((0.43, 0.69), abs=0.06)  # Fisher's
    assert real_tables.correlation(np.ones((1, 8)), np.arange(8.0)[None]) == "-"


def test_rows_are_kept_as_columns_of_test_questions() -> None:
    row = {"task": "a", "split": "test", "local_right": True, "margin": 1.23456789}
    row |= {"cloud_right": None, "digest": "0123456789abcdef", "mean_entropy": 0.5}
    found = study.columns_of([row, row | {"split": "validation"}])
    assert json.loads(json.dumps(found)) == {
        "a": {
            "local_right": [1],
            "cloud_right": [None],
            "asked": [None],
            "margin": [1.2346],
            "mean_entropy": [0.5],
            "digest": ["0123456789ab"],
        }
    }


def _header() -> list[str]:
    return real_tables.accuracy_table({})[0]
