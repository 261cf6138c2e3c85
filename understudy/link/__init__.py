"""What crossing costs."""

from understudy.link.spend import Spend

__all__ = ["Spend"]
