"""How many tokens a data set's questions and answers take, by the model's own tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from understudy.models.described import describe
from understudy.models.precision import base_folder
from understudy.models.tokens import Tokens
from understudy.tasks import DataSet
from understudy.types import Problem

_LONGEST, _OTHERS = 64, 192  # questions that are counted: the longest, and some of the others
_ROUND = 8


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens. question: of the usual one, as the model is asked; answer: the longest, with its end.
    context: most of both together, None where the model does not say."""

    question: int
    longest_question: int
    answer: int
    request: int  # of asking for help in words; 0 where the model asks by its token alone
    context: int | None
    unread: str  # characters that the model has no token for

    def room(self, usual: int) -> int:
        """The longest answer that is allowed: enough for those that are known, and for a request
        after them; as usual where they are shorter.

        >>> Lengths(20, 50, 70, 9, 512, "").room(64), Lengths(20, 50, 7, 9, 512, "").room(64)
        (80, 64)
        """
        needed = -(-(self.answer + self.request) // _ROUND) * _ROUND
        return max(usual, needed)


def lengths_of(model: str, data: DataSet) -> Lengths:
    """A GGUF file is unpacked for it, once, as a run would."""
    folder = base_folder(model)
    tokens = Tokens(folder)
    problems = [each for part in data.questions.values() for each in part]
    looked_at = _some(problems)
    _, mask = tokens.encode_questions([each.local_question for each in looked_at])
    counts = sorted(mask.sum(dim=1).tolist())
    answers = [len(tokens.encode_plain(each)) + 1 for each in _longest_answers(problems)]
    asks = tokens.request and tokens.writes_request
    return Lengths(
        question=counts[len(counts) // 2],
        longest_question=counts[-1],
        answer=max(answers, default=0),
        request=len(tokens.encode_plain(tokens.request)) if asks else 0,
        context=_context(model, folder),
        unread=_unread(tokens, problems),
    )


def _context(model: str, folder: Path) -> int | None:
    return describe(str(folder) if model != "tiny" else model).context


def _some(problems: Sequence[Problem]) -> list[Problem]:
    by_length = sorted(problems, key=lambda each: len(each.prompt), reverse=True)
    others = by_length[_LONGEST:]
    return by_length[:_LONGEST] + others[:: max(1, len(others) // _OTHERS)]


def _longest_answers(problems: Sequence[Problem]) -> list[str]:
    written = {each.worked for each in problems if each.worked.strip()}
    return sorted(written, key=len, reverse=True)[:_LONGEST]


def _unread(tokens: Tokens, problems: Sequence[Problem]) -> str:
    letters = {letter for each in problems for letter in each.prompt + each.worked}
    return "".join(sorted(letter for letter in letters if tokens.unknown(letter)))
