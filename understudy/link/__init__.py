"""What crossing costs, and the record of what has crossed."""

from understudy.link.log import Entry, ReplyLog
from understudy.link.spend import Spend

__all__ = ["Entry", "ReplyLog", "Spend"]
