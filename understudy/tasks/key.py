"""The answer key of the questions that were drawn: it stays home when a question crosses a link."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from understudy.tasks.recognise import recognise
from understudy.types import Problem, Question

_KEPT = 2**16


class KeyOfDrawn:
    """Finds the problem that a question was made of: an `understudy.types.AnswerKey`.

    The problems drawn last are remembered; where two have equal questions, the newer one counts.
    Any other question is read as one that somebody typed.
    """

    def __init__(self, kept: int = _KEPT) -> None:
        self.kept = kept
        self._problems: dict[Question, Problem] = {}  # the newest last

    def remember(self, problems: Sequence[Problem]) -> None:
        """At least these are remembered, however many they are."""
        for problem in problems:
            question = problem.question
            self._problems.pop(question, None)
            self._problems[question] = problem
        excess = len(self._problems) - max(self.kept, len(problems))
        for question in list(islice(self._problems, max(excess, 0))):
            del self._problems[question]

    def __call__(self, question: Question) -> Problem | None:
        found = self._problems.get(question)
        if found is None and len(question.messages) == 1:
            return recognise(question.prompt)
        return found
