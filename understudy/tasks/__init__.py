"""What is asked and how an answer is checked; streams that switch."""

from understudy.tasks.answer import ANSWER_MARK, answer_of
from understudy.tasks.catalogue import FAMILIES
from understudy.tasks.data import DataConfig, DataSet
from understudy.tasks.family import LEVELS, Family, Split, draw_problem, split_of
from understudy.tasks.key import KeyOfDrawn
from understudy.tasks.work import Tasks, open_tasks

__all__ = [
    "ANSWER_MARK",
    "FAMILIES",
    "LEVELS",
    "DataConfig",
    "DataSet",
    "Family",
    "KeyOfDrawn",
    "Split",
    "Tasks",
    "answer_of",
    "draw_problem",
    "open_tasks",
    "split_of",
]
