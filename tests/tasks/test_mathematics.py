"""Mathematics: what is equal, and that nothing a model writes stalls or breaks the checker."""

from __future__ import annotations

import os
import signal
import time

import pytest

from understudy.errors import UnderstudyError
from understudy.tasks.checker import Checker
from understudy.tasks.judge import Judge
from understudy.tasks.mathematics import Mathematics
from understudy.types import Problem

pytest.importorskip("math_verify")


def query_of(solution: str) -> Problem:
    return Problem("asked", solution, "math", 1, "")


def verdict(
    judge: Judge, solution: str, completion: str, kind: str = "mathematics"
) -> float | None:
    checker = Checker(kind)  # type: ignore[arg-type]
    return judge.check([(checker, query_of(solution), completion)])[0]


@pytest.mark.parametrize(
    ("solution", "answer"),
    [
        ("\\frac{1}{2}", "0.5"),
        ("\\frac12", "\\dfrac{1}{2}"),
        ("x^2+2x+1", "(x+1)^2"),
        ("11\\sqrt2", "11\\sqrt{2}"),
        ("\\text{Evelyn}", "Evelyn"),
        ("3", "x=3"),
        ("12", "12\\text{ cm}"),
        ("\\frac{1}{3}", "0.333333"),
        ("50\\%", "50"),
        ("10^{3}", "1{,}000"),
        ("7", "3+4"),
    ],
)
def test_equal_mathematics(judge: Judge, solution: str, answer: str) -> None:
    assert verdict(judge, solution, f"\\boxed{{{answer}}}") == 1.0


@pytest.mark.parametrize(
    ("solution", "answer"),
    [
        ("\\frac{1}{2}", "\\frac{1}{3}"),
        ("(1,2)", "(2,1)"),
        ("5", "5x"),
        ("5", "1{,}000"),
        ("x+1", "x-1"),
        ("5", "\\frac{"),
        ("5", "\\undefined{5"),
        ("5", ")("),
        ("5", "\u0000"),
    ],
)
def test_different_or_unreadable_is_wrong(judge: Judge, solution: str, answer: str) -> None:
    assert verdict(judge, solution, f"#### {answer}") == 0.0


@pytest.mark.parametrize(
    ("completion", "wanted"),
    [
        ("#### $1,234.50", 1.0),
        ("#### 1234.5", 1.0),
        ("#### 2469/2", 1.0),
        ("#### 1234.5 dollars.", 1.0),
        ("\\boxed{\\frac{2469}{2}}", 1.0),
        ("#### 1234", 0.0),
        ("it is 1234.5", 0.0),
        ("", 0.0),
    ],
)
def test_numbers_are_decided_without_a_process(completion: str, wanted: float) -> None:
    judge = Judge()
    assert verdict(judge, "1,234.50", completion, "number") == wanted
    assert judge._mathematics._process is None


def test_a_number_may_be_an_expression(judge: Judge) -> None:
    assert verdict(judge, "8", "#### 2^3", "number") == 1.0
    assert verdict(judge, "9", "#### 2^3", "number") == 0.0


PATHOLOGICAL = [
    "9^{9^{9^{9^9}}}",
    "10^{10^8}",
    "1000000!",
    "(" * 900 + "1" + ")" * 900,
    "\\frac{1}{" * 150 + "2" + "}" * 150,
    "\\sqrt{" * 200 + "2" + "}" * 200,
    "(x+1)^{5000}",
    "x^{10^{10}}-1",
    "\\sum_{n=1}^{10^9} n^{n}",
    "a" * 1900,
    "1+" * 950 + "1",
    "7" * 100_000,
    "\\left(" * 20_000,
]


def test_pathological_answers_stall_nothing() -> None:
    """Each ends, right for none of them, and the ordinary ones between have their verdicts."""
    checker, judge = Checker("mathematics"), Judge()
    judge._mathematics = Mathematics(workers=2, seconds=0.5)
    with judge:
        claims = []
        for i, answer in enumerate(PATHOLOGICAL):
            claims.append((checker, query_of("5"), f"\\boxed{{{answer}}}"))
            claims.append((checker, query_of(f"\\frac{{{i}}}{{7}}"), f"\\boxed{{{2 * i}/14}}"))
        verdicts = judge.check(claims)
        assert 1.0 not in verdicts[::2]
        assert verdicts[1::2] == [1.0] * len(PATHOLOGICAL)
        undecided = verdicts.count(None)
        assert sum(judge.undecided.values()) == undecided > 0
        assert {reason.partition(":")[0] for reason in judge.undecided} == {"mathematics"}


def test_a_server_that_died_is_started_again() -> None:
    mathematics = Mathematics(workers=1, seconds=5)
    assert mathematics.decide_all([("x+x", "2x")]) == [True]
    assert mathematics._process is not None
    before = mathematics._process.pid
    os.kill(before, signal.SIGKILL)
    assert mathematics.decide_all([("x+x", "2x"), ("x", "y")]) == [True, False]
    assert mathematics._process.pid != before
    mathematics.close()
    mathematics.close()


def test_closing_leaves_no_process() -> None:
    mathematics = Mathematics(workers=2, seconds=30)
    mathematics.decide_all([("x+x", "2x"), ("2y", "y+y")])
    assert mathematics._process is not None
    server = mathematics._process.pid
    with open(f"/proc/{server}/task/{server}/children") as file:
        children = [int(pid) for pid in file.read().split()]
    assert children
    mathematics.close()
    for _ in range(200):
        if not any(os.path.exists(f"/proc/{pid}") for pid in [server, *children]):
            return
        time.sleep(0.05)
    pytest.fail("a process is left")


def test_a_missing_library_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("understudy.tasks.mathematics.find_spec", lambda name: None)
    with pytest.raises(UnderstudyError, match=r"math-verify.*pip install"):
        Mathematics().decide_all([("x", "y")])
