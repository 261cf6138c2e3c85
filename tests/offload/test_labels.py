"""Label tasks stand beside the constant answer: in rows, cells, warnings, eval, and the report."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.offload.runs import Silent, config_of, run_new
from tests.offload.test_examination import rows
from tests.report.pages import terminal
from understudy.metrics import macro_f1
from understudy.offload.alarms import examination_alarms, label_alarm
from understudy.offload.config import Config
from understudy.offload.grade import grade
from understudy.offload.records import Cell, MatrixRow
from understudy.offload.serve import TrainedModel
from understudy.report import tables, write
from understudy.report.offload.tables import exam_table
from understudy.routing.rows import ExaminedQuestion
from understudy.run import RunDirectory

PLAIN = Cell(0.4, 0.6, 0.3, None, 0.2, 0.5, 0.3, 0.6, 0.1, (None,) * 11, 64, 0, 0)


def labelled(right: str, named: str) -> Cell:
    """One letter a question; a dash names none."""
    verdicts = [int(one == other) for one, other in zip(right, named, strict=True)]
    given = rows(verdicts, [None] * len(right), [0.0] * len(right))
    told = [
        replace(row, label=label, local_label=None if answer == "-" else answer)
        for row, label, answer in zip(given, right, named, strict=True)
    ]
    return graded(told)


def graded(given: Sequence[ExaminedQuestion]) -> Cell:
    return grade(given, np.zeros(len(given), dtype=bool), 0.0, 0.0)


def test_a_cell_of_labels_holds_what_a_constant_answer_gets() -> None:
    cell = labelled("aaab", "aab-")
    assert (cell.constant, cell.answers) == (0.75, 2)
    assert cell.macro_f1 == macro_f1("aaab", ["a", "a", "b", None])
    assert cell.local == 0.5


def test_other_cells_and_mixed_ones_hold_nothing() -> None:
    first, second = rows([1, 0], [None, None], [0.0, 0.0])
    cell = graded([first, second])
    assert (cell.macro_f1, cell.constant, cell.answers) == (None, None, None)
    mixed = graded([replace(first, label="a", local_label="a"), second])
    assert mixed.constant is None


@pytest.mark.parametrize(
    ("right", "named", "words"),
    [
        ("aab", "aaa", "all 3 questions of sms with one label: accuracy 0.67, macro-F1 0.40"),
        ("aab", "bb-", "with one label"),
        ("aab", "---", "no answer of the local model names a label of sms"),
        ("aab", "aba", None),
        ("aaa", "aaa", None),  # there is only one to name
    ],
)
def test_a_model_with_one_answer_is_said_aloud(right: str, named: str, words: str | None) -> None:
    text = label_alarm("sms", labelled(right, named))
    assert text is None if words is None else words in str(text)


def test_tasks_that_are_not_met_yet_are_not_named_after_a_phase() -> None:
    bad, good = labelled("ab", "aa"), labelled("ab", "ab")
    names = ["one", "two", "one"]
    before = MatrixRow(0, 0, (bad, bad, bad), 2)
    assert [text.split(":")[0] for text in examination_alarms(before, names)] == [
        "before training"
    ] * 2
    (said,) = examination_alarms(MatrixRow(1, 9, (bad, bad, bad), 2), names)
    assert "after phase 1" in said
    assert "of one with" in said
    assert examination_alarms(MatrixRow(2, 9, (good, good, good), 2), names) == []
    assert examination_alarms(MatrixRow(1, 9, (PLAIN, bad, PLAIN), 2), names) == []


def small(folder: Path, model: Path) -> Config:
    """A task of two labels, for a model that writes the words of facts."""
    rows = [{"text": f"{i}+{i}", "label": "12"[i % 3 == 0]} for i in range(200)]
    path = folder / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {"mine": {"path": str(path), "form": "label", "instruction": ""}}
    stream = [{"families": "mine", "steps": 1}, {"families": "facts", "levels": [1, 1], "steps": 1}]
    return config_of("dagrpo", model, data=data, stream=stream, eval_queries=20)


@pytest.fixture
def run(tmp_path: Path, model: Path) -> tuple[RunDirectory, Config, Silent]:
    display, config = Silent(), small(tmp_path, model)
    return run_new(tmp_path / "run", config, display), config, display


def test_a_run_on_labels_says_so_everywhere(run: tuple[RunDirectory, Config, Silent]) -> None:
    directory, config, display = run
    examined = [row for row in directory.read_examination("phase-1") if row["split"] == "test"]
    mine = [row for row in examined if row["task"] == "mine"]
    assert all("label" not in row for row in examined if row["task"] == "facts")
    labels, named = [row["label"] for row in mine], [row.get("local_label") for row in mine]
    cell, other = directory.read(directory.matrix)[1]["tasks"]
    assert cell["constant"] == max(Counter(labels).values()) / len(mine)
    assert cell["macro_f1"] == macro_f1(labels, named)
    assert cell["answers"] == len({*named} - {None})
    assert (other["macro_f1"], other["constant"], other["answers"]) == (None, None, None)
    served = directory.read(directory.summary)["phases"][0]["evaluation"]
    assert {name: served[name] for name in ("macro_f1", "constant", "answers")} == {
        name: cell[name] for name in ("macro_f1", "constant", "answers")
    }
    assert cell["answers"] <= 1  # it writes words of facts, so names no label
    text = "after phase 1: no answer of the local model names a label of mine"
    assert text in display.warnings
    write(directory)
    assert text in (directory.path / "report.html").read_text()
    assert "macro-F1" in terminal(tables(directory)[0])
    with TrainedModel(directory, config) as model, warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        results = model.examine(12)
    assert any("names a label of mine" in str(each.message) for each in said)
    assert results[0].to_json()["constant"] == results[0].cell.constant
    assert "macro-F1" in terminal(exam_table(results))


def test_a_trained_task_with_nothing_right_gets_a_hint_unless_questions_are_few() -> None:
    for questions, hinted in ((19, False), (64, True)):
        cell = replace(PLAIN, local=0.0, questions=questions)
        said = examination_alarms(MatrixRow(1, 9, (cell,), questions), ["sums"])
        assert any("right on none of 64 questions of sums" in text for text in said) is hinted
        assert examination_alarms(MatrixRow(0, 0, (cell,), questions), ["sums"]) == []
    repeated = replace(PLAIN, local=0.0, questions=64, distinct_questions=19)
    assert examination_alarms(MatrixRow(1, 9, (repeated,), 19), ["sums"]) == []
