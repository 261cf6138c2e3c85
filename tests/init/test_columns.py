"""Which column asks and which answers, and of which kind answers are."""

from __future__ import annotations

import doctest
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from understudy.errors import ConfigError
from understudy.init import cloud, columns, lengths, looking, writing
from understudy.init.columns import columns_of
from understudy.init.kinds import kind_of_answers
from understudy.init.looking import look_at, published_form


@pytest.mark.parametrize("module", [cloud, columns, lengths, looking, writing])
def test_examples(module: Any) -> None:
    found = doctest.testmod(module)
    assert found.attempted
    assert not found.failed


def rows(*names: str, count: int = 6) -> list[dict[str, str]]:
    """The first column holds long texts, the last one of two words, any other its row's number."""

    def cell(name: str, i: int) -> str:
        if name == names[0]:
            return f"a rather long text, number {i}"
        return "ab"[i % 2] if name == names[-1] else str(i)

    return [{name: cell(name, i) for name in names} for i in range(count)]


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (("question", "answer"), ("question", "answer")),
        (("Question", "ANSWER"), ("Question", "ANSWER")),
        (("text", "id", "label"), ("text", "label")),
        (("prompt", "answer", "question"), ("question", "answer")),  # the plainer name counts
        (("user_query", "id", "gold_label"), ("user_query", "gold_label")),
        (("text", "x"), ("text", "x")),  # one is left
        (("x", "label"), ("x", "label")),
        (("context", "nr", "topic"), ("context", "topic")),  # by content
        (("body", "nr", "answer"), ("body", "answer")),
    ],
)
def test_columns_are_found(names: tuple[str, ...], wanted: tuple[str, str]) -> None:
    found = columns_of(rows(*names), None, None, None)
    assert (found.prompt, found.solution) == wanted


def test_it_says_how_they_were_found() -> None:
    assert columns_of(rows("question", "answer"), None, None, None).why == "by their names"
    assert columns_of(rows("a", "b", "c"), None, None, None).why.startswith("by their content")
    assert columns_of(rows("a", "b", "c"), "b", "c", None).why == "as given"


def test_a_person_is_asked_only_where_names_do_not_tell() -> None:
    asked: list[tuple[str, ...]] = []

    def ask(question: str, choices: Sequence[str]) -> str:
        asked.append(tuple(choices))
        return choices[-1]

    columns_of(rows("question", "nr", "answer"), None, None, ask)
    assert asked == []
    found = columns_of(rows("question", "nr", "topic"), None, None, ask)
    assert asked == [("nr", "topic")]
    assert (found.prompt, found.solution) == ("question", "topic")
    found = columns_of(rows("a", "b", "c"), None, "b", ask)
    assert (found.prompt, found.solution) == ("c", "b")


@pytest.mark.parametrize(
    ("names", "given", "words"),
    [
        (("a", "b"), ("c", None), "--prompt c: no such column; there are a, b"),
        (("a", "b"), (None, "c"), "--solution c: no such column"),
        (("a", "b"), ("a", "a"), "both a"),
        (("text",), (None, None), "one column, text"),
    ],
)
def test_columns_that_cannot_be_are_refused(
    names: tuple[str, ...], given: tuple[str | None, str | None], words: str
) -> None:
    table = [dict.fromkeys(names, "x")]
    with pytest.raises(ConfigError, match=words):
        columns_of(table, *given, None)


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        ([str(i * 7) for i in range(40)], "number"),
        (["$1,200", "3/4", "18 dollars", "-2.5"], "number"),
        ([str(i % 2) for i in range(40)], "label"),  # classes
        ([str(i % 5 + 0.5) for i in range(60)], "number"),  # no whole numbers, no classes
        (["ham", "spam"] * 10, "label"),
        (["ham", "spam", "eggs"], "text"),  # nothing repeats: not known to be a label
        (["A", "C", "B", "D"] * 3, "choice"),
        (["A"] * 9, "text"),  # one answer to everything
        ([r"\frac{1}{2}", r"\sqrt{3}", "2"], "mathematics"),
        (["assert f(1) == 2", "assert g(0)\nassert g(1)"], "code"),
        ([["assert f(1) == 2"], ["assert g(0)", "assert g(1)"]], "code"),
        (['["assert f(1) == 2"]', '{"inputs": ["1"], "outputs": ["2"]}'], "code"),
        (["def f():\n    return 1", "import os\nprint(os)"], "text"),
        (["It closed in 1887, after the flood.", "Nobody knows."], "text"),
    ],
)
def test_the_kind_of_answers(answers: list[Any], kind: str) -> None:
    assert kind_of_answers(answers).kind == kind


def test_what_a_person_should_know_of_answers_is_said() -> None:
    assert "asserts" in kind_of_answers(["def f():\n    return 1"]).doubt
    assert "reward function" in kind_of_answers(["x" * 50 + str(i) for i in range(9)]).doubt
    assert kind_of_answers(["ham", "spam"] * 10).doubt == ""


def test_published_forms_are_known_by_their_rows() -> None:
    assert published_form([{"question": "1+1?", "answer": "1+1=2\n#### 2"}]) == "gsm8k"
    assert published_form([{"question": "1+1?", "answer": "2"}]) is None
    options = {"text": ["1", "2"], "label": ["A", "B"]}
    assert published_form([{"question": "?", "choices": options, "answerKey": "B"}]) == "choice"


def test_a_data_set_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    lines = [f"what is {i}?,{'even' if i % 2 == 0 else 'odd'}" for i in range(48)]
    path.write_text("\n".join(["question,answer", *lines, lines[0]]))
    found = look_at(path, None, None, None)
    assert (found.name, found.rows, found.questions) == ("mine", 49, 48)
    assert sum(found.counts.values()) == 48
    assert all(found.counts.values())
    assert found.config.checker == "label"
    path.write_text("question,answer\n1?,a\n2?,b\n")
    with pytest.raises(ConfigError, match="no question is left for split"):
        look_at(path, None, None, None)
