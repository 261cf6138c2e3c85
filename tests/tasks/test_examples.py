"""Worked examples: which are shown, to whom, and that they are not asked any more."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tasks.published import gsm8k_row, write_lines
from understudy.tasks.checker import Kind
from understudy.tasks.data import DataConfig, DataSet, load_data
from understudy.tasks.examples import chosen_examples, turns_of, usual_count
from understudy.types import Options, Problem, Turn


def problem(prompt: str, label: str, worked: str | None = None) -> Problem:
    return Problem(prompt, label, "mine", 1, label if worked is None else worked)


def labelled(tmp_path: Path, labels: int = 3, rows: int = 120) -> DataSet:
    found = [{"text": f"text number {i}", "label": f"kind {i % labels}"} for i in range(rows)]
    path = write_lines(tmp_path / "mine.jsonl", found)
    return load_data("mine", DataConfig(path=str(path), form="label"))


def test_every_label_is_shown_before_any_comes_twice() -> None:
    train = [problem(f"text {i}", "rare" if i == 7 else f"kind {i % 2}") for i in range(20)]
    assert {each.solution for each in chosen_examples(train, 3)} == {"rare", "kind 0", "kind 1"}
    assert len({each.prompt for each in chosen_examples(train, 9)}) == 9


def test_a_rare_label_is_shown_although_its_questions_are_long() -> None:
    ham = [problem(f"text {i}", "ham") for i in range(40)]
    spam = [problem(f"a long text {i}, " * (20 + i), "spam") for i in range(12)]
    for train in ([*ham, *spam], [*spam, *ham]):
        shown = chosen_examples(train, 2)
        assert {each.solution for each in shown} == {"ham", "spam"}
        (long,) = (each for each in shown if each.solution == "spam")
        assert long in spam[:6]  # the shorter half of its own


def test_of_answers_that_are_all_different_the_shorter_half_is_shown() -> None:
    train = [problem("word " * (1 + i), str(i)) for i in range(40)]
    assert set(chosen_examples(train, 8)) <= set(train[:20])


def test_as_many_are_shown_as_there_are() -> None:
    train = [problem(f"text {i}", "rare" if i == 0 else "common") for i in range(6)]
    assert [len(chosen_examples(train, count)) for count in (1, 4, 6, 9)] == [1, 4, 6, 6]


def test_which_are_shown_does_not_depend_on_the_order_of_the_rows() -> None:
    train = [problem(f"text {i}", f"kind {i % 3}") for i in range(30)]
    assert chosen_examples(train, 5) == chosen_examples(train[::-1], 5)


def test_long_questions_and_those_without_a_worked_answer_are_not_shown() -> None:
    long = [problem(f"text {i} " * 100, f"kind {i}") for i in range(10)]
    bare = [problem(f"bare {i}", f"kind {i}", worked="") for i in range(10)]
    short = [problem(f"text {i}", f"kind {i}") for i in range(10)]
    assert set(chosen_examples([*long, *bare, *short], 4)) <= set(short)


def test_fewer_rows_than_examples() -> None:
    assert chosen_examples([problem("one", "a"), problem("two", "b")], 8) != []
    assert chosen_examples([], 8) == []


@pytest.mark.parametrize(
    ("kind", "labels", "count"),
    [("label", 2, 2), ("label", 12, 12), ("label", 77, 4), ("choice", 0, 2), ("code", 0, 0)],
)
def test_the_usual_count(kind: str, labels: int, count: int) -> None:
    assert usual_count(kind, labels, []) == count  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "worked", "count"),
    [
        ("number", "#### 1,000", 0),
        ("number", "He has 999 + 1 = 1,000.\n#### 1,000", 2),
        ("mathematics", "\\boxed{1000}", 0),
        ("mathematics", "$\\boxed{1000}$.", 0),
        ("mathematics", "It is $10^3 = \\boxed{1000}$.", 2),
        ("text", "1000", 2),  # nothing is to be worked out
    ],
)
def test_a_bare_result_is_no_example_of_how_to_reason(kind: Kind, worked: str, count: int) -> None:
    train = [problem(f"question {i}", "1000", worked) for i in range(5)]
    assert usual_count(kind, 0, train) == count


def test_columns_of_numbers_are_asked_without_examples(tmp_path: Path) -> None:
    rows = [{"q": f"{i} + {i}?", "a": 2 * i} for i in range(60)]
    path = write_lines(tmp_path / "mine.jsonl", rows)
    for kind in ("number", "mathematics"):
        config = DataConfig(path=str(path), checker=kind, prompt="q", solution="a")
        data = load_data("mine", config)
        assert usual_count(kind, 0, data.questions["train"]) == 0


def test_the_local_model_alone_is_shown_them(tmp_path: Path) -> None:
    data = labelled(tmp_path).with_examples(3)
    asked = data.questions["test"][0]
    assert asked.question.messages == (
        Turn("system", data.instruction),
        Turn("user", asked.prompt),
    )
    system, *shown, user = asked.local_question.messages
    assert (system, user) == asked.question.messages
    assert [turn.role for turn in shown] == ["user", "assistant"] * 3
    assert {turn.content for turn in shown[1::2]} == {"kind 0", "kind 1", "kind 2"}
    assert asked.local_question.options == Options(stop=("\n",))
    assert asked.question.options == Options()


def test_a_shown_question_is_asked_in_no_split(tmp_path: Path) -> None:
    whole = labelled(tmp_path)
    data = whole.with_examples(3)
    shown = {turn.content for turn in data.examples[::2]}
    left = [each.prompt for part in data.questions.values() for each in part]
    assert len(shown) == 3
    assert not shown & set(left)
    assert len(left) == sum(map(len, whole.questions.values())) - 3


def test_they_are_worked_where_a_question_is_worked(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "gsm8k.jsonl", map(gsm8k_row, range(60)))
    data = load_data("gsm8k", DataConfig(path=str(path))).with_examples(2)
    assert all("####" in turn.content for turn in data.examples[1::2])


def test_an_answer_of_a_conversation_follows_them() -> None:
    history = (Turn("user", "before"), Turn("assistant", "kind 1"))
    examples = turns_of([problem("text", "kind 0")])
    asked = Problem("now", "", "mine", 1, "", "Answer.", history=history, examples=examples)
    contents = [turn.content for turn in asked.local_question.messages]
    assert contents == ["Answer.", "text", "kind 0", "before", "kind 1", "now"]
