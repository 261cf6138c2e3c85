"""How many tokens the answers of a run take at most, by its tasks and the model's own tokenizer."""

from __future__ import annotations

from collections.abc import Sequence

from understudy.models.tokens import Tokens
from understudy.tasks import Tasks
from understudy.tasks.stream import Phase


def longest_label(tokens: Tokens, tasks: Tasks, stream: Sequence[Phase]) -> int | None:
    """Tokens of the longest label or letter, with its end; None where answers have no longest."""
    answers = tasks.all_answers(stream)
    if not answers:
        return None
    return max(len(tokens.encode_plain(answer)) for answer in answers) + 1


def needed_length(tokens: Tokens, tasks: Tasks, stream: Sequence[Phase]) -> int | None:
    """As `longest_label`, with room to ask for help in words after it."""
    longest = longest_label(tokens, tasks, stream)
    if longest is None or not (tokens.request and tokens.writes_request):
        return longest
    return longest + len(tokens.encode_plain(tokens.request))
