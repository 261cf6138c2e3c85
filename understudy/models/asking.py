"""Recognising in a completion that the model asks for help in words."""

from __future__ import annotations

import difflib
import re

_CLOSE_ENOUGH = 0.8


def asks_for_help(completion: str, request: str) -> bool:
    """Whether a completion ends in the request for help, small misspellings forgiven.

    >>> asks_for_help("so x is <unknwon> I need externl assistance </unknown>",
    ...               "<unknown> I need external assistance </unknown>")
    True
    """
    if completion.rstrip().endswith(request):
        return True
    wanted = _letters(request)
    # Too short to misspell: a one-word request is matched to the letter or not at all.
    if len(wanted) < 8:
        return False
    tail = _letters(completion)[-len(wanted) - 4 :]
    matcher = difflib.SequenceMatcher(None, tail, wanted, autojunk=False)
    common = sum(block.size for block in matcher.get_matching_blocks())
    return common / len(wanted) >= _CLOSE_ENOUGH


def _letters(text: str) -> str:
    return re.sub(r"[^a-z]", "", text.lower())
