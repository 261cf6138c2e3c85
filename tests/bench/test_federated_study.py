"""The study of federations: its sets, its cells, and its tables by hand."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import federated_tables
from bench.federated import sets, study
from tests.federate.tiny import config_of
from understudy.federate.variants import variants_of
from understudy.settings import check_settings

ROOT = Path(__file__).parents[2]


def test_settings_are_chosen_by_questions_that_are_not_test_questions(tmp_path: Path) -> None:
    for part, count in (("train", 8), ("test", 2)):
        with (tmp_path / f"{part}.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["text", "category"])
            rows.writerows([f"{part} {i}", f"intent {i % 2}"] for i in range(2 * count))
    tested, chosen = (sets.banking77(str(tmp_path), held) for held in ("test", "validation"))
    assert tested.held is not None
    assert chosen.held is not None
    assert [tested.raw[n] for n in tested.held.nonzero().flatten()] == [
        f"test {i}" for i in range(4)
    ]
    assert not any(text.startswith("test") for text in chosen.raw)
    assert [chosen.label[chosen.held].tolist().count(label) for label in (0, 1)] == [2, 2]


def test_settings_are_chosen_by_users_who_are_not_in_the_study(tmp_path: Path) -> None:
    users = {
        f"u{n:02}": {"x": [f"u{n:02} {i}" for i in range(3)], "y": [0, 1, n % 2]} for n in range(9)
    }
    content = {"users": list(users), "num_samples": [3] * 9, "user_data": users}
    (tmp_path / "users.json").write_text(json.dumps(content))
    found = {
        held: sets.sent140(str(tmp_path / "users.json"), held, at_least=3)
        for held in ("test", "validation")
    }
    assert found["validation"].users == ("u00", "u04", "u08")
    assert len(found["test"].users) == 6
    for each in found.values():
        assert each.user is not None
        assert all(
            t[:3] == each.users[u] for t, u in zip(each.raw, each.user.tolist(), strict=True)
        )


def test_every_cell_is_a_federation_and_has_a_file_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    cells = list(study.cells())
    assert len({cell.path for cell in cells}) == len(cells) > 100
    for cell in cells:
        config = study.config_of(cell, Path("data"), None)
        assert config.seeds == [cell.seed]
        held = config.data_options.get("held", "test")
        assert (held == "validation") == (cell.line == "tuning") == (cell.seed >= 100)
    for file in ("banking77", "sent140"):
        run = check_settings(study.FederateRun, study.settings_of(file))
        assert variants_of(run)


def test_a_cells_record_has_a_sign_for_every_test_question() -> None:
    config = config_of(tasks=2, rounds=1)
    found = study.ran(study.Cell("line", "file", "it", 0), config, {})
    json.dumps(found)
    for mode in study.MODES:
        for client, signs in zip(found["result"]["clients"], found["right"][mode], strict=True):
            assert [len(each) for each in signs] == client["test"]
            if mode == "task":
                shares = [each.count("1") / len(each) for each in signs]
                assert shares == pytest.approx(client["matrix"][-1])
    assert [set(each[0]) for each in found["terms"]] == [{"task"}] * 3
    assert ", 0.0" in study.summary_of(found)


def run_of(seed: int, signs: list[list[str]], sent: int, variant: str = "it") -> dict[str, Any]:
    traffic = {"bytes_up": {"model": sent}, "bytes_down": {"model": sent}}
    clients = [{"traffic": traffic, "forgetting": 0.1 * seed} for _ in signs]
    return {
        "cell": {"line": "l", "file": "f", "variant": variant, "seed": seed},
        "right": {"seen": signs, "task": signs},
        "processor_seconds": 2.0,
        "result": {"clients": clients},
    }


def test_seeds_count_alike_and_questions_within_them() -> None:
    group = {0: run_of(0, [["10"], ["1111"]], 500_000), 1: run_of(1, [["00"]], 1_000_000)}
    assert federated_tables.megabytes(group) == pytest.approx(2.0)
    assert federated_tables.mean_of(group, "forgetting") == pytest.approx(0.1 / 3)
    assert federated_tables.with_interval(
        list(federated_tables.rights(group, "seen").values())
    ).startswith("0.417 [0.000, ")


def test_differences_are_of_the_same_questions_of_seeds_that_both_have() -> None:
    group = {0: run_of(0, [["1100"]], 1), 1: run_of(1, [["1"]], 1)}
    other = {0: run_of(0, [["0100"]], 1)}
    assert federated_tables.over(group, other).startswith("+0.250 [+0.000, ")
    assert federated_tables.over(group, {2: group[1]}) == ""
    low, high = federated_tables.bootstrap([np.ones(5), np.ones(5)])
    assert (low, high) == (1.0, 1.0)


def test_a_table_has_what_was_run(tmp_path: Path) -> None:
    cells = {
        "Fed-LSCL, cosine head, small generator": ("1111", 500_000),
        "Fed-LSCL": ("1110", 500_000),
        "Fed-LSCL, local only": ("1100", 0),
    }
    for name, (signs, sent) in cells.items():
        for seed in (0, 1):
            run = run_of(seed, [[signs]], sent, name)
            run["cell"]["file"] = "banking77"
            (tmp_path / f"{name}-{seed}.json").write_text(json.dumps(run))
    header, rows = federated_tables.line_table("rivals")(federated_tables.runs_of(tmp_path))
    assert [row[0] for row in rows] == list(cells)
    first, second, third = (dict(zip(header, row, strict=True)) for row in rows)
    assert (first["seeds"], first["MB"]) == ("2", "1.00")
    assert second["over the first"].startswith("-0.250")
    assert (second["points a MB"], third["points a MB"]) == ("+25.00", "")
