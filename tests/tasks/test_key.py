"""The key of drawn problems: what was drawn last is known, what somebody typed is read."""

from __future__ import annotations

from understudy.tasks import KeyOfDrawn, open_tasks
from understudy.tasks.stream import Phase
from understudy.types import Problem, Question, Turn


def test_the_newest_problem_of_a_question_counts() -> None:
    key = KeyOfDrawn()
    first, second = (Problem("6+7", "13", "sums", level, "13#13") for level in (1, 2))
    key.remember([first, second])
    assert key(Question.of("6+7")) == second
    key.remember([first])
    assert key(Question.of("6+7")) == first


def test_the_problems_drawn_last_are_kept_and_a_batch_is_kept_whole() -> None:
    key = KeyOfDrawn(kept=3)
    many = [Problem(f"question {i}", "", "", 1, "") for i in range(5)]
    key.remember(many)
    assert [key(each.question) for each in many] == many
    late = Problem("late", "", "", 1, "")
    key.remember([late, many[0]])
    assert [key(each.question) for each in many] == [many[0], None, None, None, many[4]]
    assert key(late.question) == late


def test_a_question_that_was_not_drawn_is_read() -> None:
    read = KeyOfDrawn()(Question.of("6+7"))
    assert read is not None
    assert (read.family, read.solution) == ("sums", "13")
    assert KeyOfDrawn()(Question.of("why?")) is None
    turns = (Turn("user", "1+1"), Turn("assistant", "2"), Turn("user", "6+7"))
    assert KeyOfDrawn()(Question(turns)) is None


def test_tasks_know_what_they_drew() -> None:
    with open_tasks() as tasks:
        phase = Phase(families=["sums", "facts"])
        for drawn in (
            tasks.batch(phase, 40, "train", "0"),
            tasks.fitting(lambda _: True).exam(phase, 40, "test", "0"),
        ):
            newest = {problem.question: problem for problem in drawn}
            assert {question: tasks.key(question) for question in newest} == newest
