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
    for name in {cell.config for cell in study.cells()} | {"qwen.yaml"}:
        config = yaml.safe_load((ROOT / "bench" / "real" / name).read_text())
        families = [phase["families"] for phase in config["stream"]]
        assert families == list(config["data"])
        for each in config["data"].values():
            assert callable(getattr(data, each["path"].rpartition(":")[2]))


def test_no_two_runs_have_one_name() -> None:
    files = [cell.file for cell in study.cells()]
    assert len(set(files)) == len(files)


def run(seed: int, right: list[int]) -> dict[str, Any]:
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
        "cell": {"name": "mine", "seed": seed},
        "matrix": [{"tasks": [cell, cell]}] * 3,
        "steps": {
            "phase": [1, 1, 2, 2],
            "cloud/budget": [0.3, 0.3, 0.2, 0.2],
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
    assert row["asked in training"].startswith("0.25")  # the second half of its phase
    assert row["asked as served"].startswith("0.25 [")
    # Local 2 of 4, and the one that asked is mended: 3 of 4. A quarter of random calls moves
    # the mean by a quarter of the gain, which is +2 - 2 = 0 of 4. Entropy asks the second
    # question, which is mended too.
    assert row["system"].startswith("0.75 [")
    assert row["over random calls"].startswith("+0.250 [")
    assert row["over entropy"].startswith("+0.000 [")


def test_ties_of_a_score_go_to_the_first() -> None:
    chosen = real_tables.above(np.array([0.5, 0.5, 0.1, 0.5]), 0.5)
    assert chosen.tolist() == [1.0, 1.0, 0.0, 0.0]


def test_the_correlation_has_fishers_interval() -> None:
    asked = np.array([1.0, 1.0, 0.0, 0.0] * 25)
    gain = np.array([1.0, 0.0, 0.0, 0.0] * 25)
    assert real_tables.correlation(asked, gain) == "+0.58 [+0.43, +0.69]"
    assert real_tables.correlation(np.ones(8), np.arange(8.0)) == "-"


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
