"""What crossing costs, and the record of what has crossed."""

from understudy.link.log import Entry, Question, ReplyLog, question_of
from understudy.link.spend import Spend

__all__ = ["Entry", "Question", "ReplyLog", "Spend", "question_of"]
