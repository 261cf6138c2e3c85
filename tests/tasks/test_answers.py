"""Reading completions: answers found after their mark."""

from __future__ import annotations

import pytest

from understudy.tasks import answer_of


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        ("#42", "42"),
        ("1,2#3", "3"),
        ("#1#2", "2"),
        ("# 7 \n", "7"),
        ("#", ""),
        ("42", None),
        ("", None),
        ("#[v for v in x]", "[v for v in x]"),
    ],
)
def test_answer_of(completion: str, answer: str | None) -> None:
    assert answer_of(completion) == answer
