"""The threshold: what each asks, costs and gets wrong; chosen on one half, told of the other."""

from __future__ import annotations

import random

import pytest

from tests.gateway.shadow.logged import row
from understudy.gateway.shadow.choice import Goal, asks, choose, cross_fitted, curve, thinned
from understudy.gateway.shadow.correction import JudgeError
from understudy.routing.router import FARTHEST

# Of four questions the two least sure are wrong; asking costs 1, 2, 3, 4 dollars.
FOUR = [
    row("a", False, -0.1, 1.0),
    row("b", False, -0.2, 2.0),
    row("c", True, -0.3, 3.0),
    row("d", True, -0.4, 4.0),
]


def test_the_curve_is_as_worked_by_hand() -> None:
    points = curve(FOUR, "mean_logprob")
    assert [point.dial for point in points] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert [point.dollars for point in points] == [0.0, 4.0, 7.0, 9.0, 10.0]
    assert [point.wrong for point in points] == [0.5, 0.25, 0.0, 0.0, 0.0]
    assert [point.threshold for point in points] == pytest.approx(
        [FARTHEST, 0.35, 0.25, 0.15, -FARTHEST]
    )


def test_equal_scores_leave_together() -> None:
    rows = [row(name, False, -0.2) for name in "abc"] + [row("d", True, -0.9)]
    assert [point.dial for point in curve(rows, "mean_logprob")] == [0.0, 0.25, 1.0]


def test_what_no_local_model_answers_is_asked_at_every_threshold() -> None:
    rows = [*FOUR, row("picture", True, dollars=5.0, unable="it reads text only")]
    points = curve(rows, "mean_logprob")
    assert [point.dollars for point in points] == [5.0, 9.0, 12.0, 14.0, 15.0]
    assert points[0].asked == pytest.approx(0.2)
    assert points[0].wrong == pytest.approx(2 / 5)


def test_the_cheapest_threshold_that_meets_the_goal_is_chosen() -> None:
    chosen = choose(FOUR, ["mean_logprob"], Goal(max_wrong=0.25))
    assert (chosen.point.dial, chosen.meets) == (0.25, True)
    assert [asks(each, chosen) for each in FOUR] == [False, False, False, True]
    assert choose(FOUR, ["mean_logprob"], Goal(dial=0.5)).point.dial == 0.5


def test_the_goal_is_beyond_what_the_cloud_gets_wrong_itself() -> None:
    rows = [row("a", True, -0.1, cloud_wrong=True), row("b", False, -0.2)]
    chosen = choose(rows, ["mean_logprob"], Goal(max_wrong=0.0))
    assert (chosen.point.dial, chosen.meets) == (0.0, True)


def test_a_goal_that_nothing_meets_gives_the_least_wrong_and_says_so() -> None:
    rows = [row("a", False, -0.9, cloud_wrong=True), row("b", False, -0.1, cloud_wrong=True)]
    chosen = choose([*rows, row("c", True, -0.1)], ["mean_logprob"], Goal(max_wrong=-1.0))
    assert not chosen.meets


def test_a_judges_error_counts_in_the_choice() -> None:
    """It calls a fifth of right answers wrong: 0.2 of wrong ones among 10 are none at all."""
    rows = [row(str(n), n < 2, -n / 100) for n in range(10)]
    error = JudgeError(wrong=10, found=10, right=10, passed=8)
    chosen = choose(rows, ["mean_logprob"], Goal(max_wrong=0.01), error.corrected)
    assert chosen.point.dial == 0.0


def test_what_is_told_is_no_better_than_new_questions_are() -> None:
    """Scores that say nothing: on the questions themselves a threshold seems to keep to 10 %
    wrong oftener than half of the time; on the other half it is as wrong as it is."""
    drawn, inside, outside = random.Random(1), 0.0, 0.0
    for _ in range(60):
        rows = [row(str(n), drawn.random() < 0.2, -drawn.random()) for n in range(40)]
        chosen = choose(rows, ["mean_logprob"], Goal(max_wrong=0.1))
        inside += chosen.point.wrong
        asked = cross_fitted(rows, ["mean_logprob"], Goal(max_wrong=0.1))
        outside += sum(r.local_wrong for r, away in zip(rows, asked, strict=True) if not away) / 40
    assert inside / 60 <= 0.1
    assert outside / 60 > inside / 60


def test_a_question_that_comes_twice_is_decided_the_same() -> None:
    rows = [row(str(n % 7), n % 3 == 0, -n / 10) for n in range(40)]
    same = [row(each.call.question, each.local_wrong, -0.5) for each in rows]
    asked = cross_fitted(same, ["mean_logprob"], Goal(max_wrong=0.1))
    by_question: dict[str, set[bool]] = {}
    for each, away in zip(same, asked, strict=True):
        by_question.setdefault(each.call.question, set()).add(away)
    assert all(len(found) == 1 for found in by_question.values())


def test_a_thinned_curve_keeps_its_ends() -> None:
    points = curve([row(str(n), False, -n) for n in range(500)], "mean_logprob")
    few = thinned(points, 11)
    assert len(few) == 11
    assert (few[0], few[-1]) == (points[0], points[-1])
