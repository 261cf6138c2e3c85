"""Reading a completion: the answer after its mark."""

from __future__ import annotations

ANSWER_MARK = "#"
FORM = f"'{ANSWER_MARK}' and the answer"  # in words


def answer_of(completion: str) -> str | None:
    """What stands after the last answer mark; None where nothing was answered."""
    _, mark, answer = completion.rpartition(ANSWER_MARK)
    return answer.strip() if mark else None
