"""What is asked and how an answer is checked; streams that switch."""

from understudy.tasks.answer import ANSWER_MARK, answer_of, asks_for_help
from understudy.tasks.arithmetic import PRODUCTS, SUMS
from understudy.tasks.calendar import CALENDAR
from understudy.tasks.facts import FACTS
from understudy.tasks.family import LEVELS, Family, Split, draw_query, split_of
from understudy.tasks.programs import PROGRAMS
from understudy.tasks.sequences import SEQUENCES
from understudy.tasks.stories import STORIES
from understudy.tasks.strings import STRINGS

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (SUMS, PRODUCTS, STORIES, STRINGS, PROGRAMS, CALENDAR, FACTS, SEQUENCES)
}

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
