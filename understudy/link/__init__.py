"""What crossing costs, what may cross, and the record of what has crossed."""

from understudy.link.budget import Budget, Hold, Refusal
from understudy.link.log import Entry, ReplyLog
from understudy.link.meter import Account, Meter
from understudy.link.spend import Spend

__all__ = ["Account", "Budget", "Entry", "Hold", "Meter", "Refusal", "ReplyLog", "Spend"]
