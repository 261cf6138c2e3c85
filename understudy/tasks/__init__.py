"""What is asked and how an answer is checked; streams that switch."""

from understudy.tasks.answer import ANSWER_MARK, answer_of, asks_for_help
from understudy.tasks.catalogue import FAMILIES
from understudy.tasks.family import LEVELS, Family, Split, draw_query, split_of

__all__ = [
    "ANSWER_MARK",
    "FAMILIES",
    "LEVELS",
    "Family",
    "Split",
    "answer_of",
    "asks_for_help",
    "draw_query",
    "split_of",
]
