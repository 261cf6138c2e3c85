"""What has crossed, by edge and by kind. The one meter of every link."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, field

from understudy.types import Cost


@dataclass(slots=True)
class Account:
    """What crossed one edge.

    by_kind: the cost of each kind of message, such as "data", "parameters", or the name of a
    cloud; events: what is counted and costs nothing itself, such as a lost message; unknown: of
    what broke off, at most: it is not among the total.
    """

    total: Cost = field(default_factory=Cost)
    by_kind: dict[str, Cost] = field(default_factory=dict)
    events: Counter[str] = field(default_factory=Counter)
    unknown: Cost = field(default_factory=Cost)


class Meter:
    """An account per edge. An edge is whatever names it: a pair of agents, or a word."""

    def __init__(self) -> None:
        self.accounts: dict[Hashable, Account] = {}

    def account(self, edge: Hashable) -> Account:
        return self.accounts.setdefault(edge, Account())

    def charge(self, edge: Hashable, kind: str, cost: Cost) -> None:
        account = self.account(edge)
        account.total += cost
        account.by_kind[kind] = account.by_kind.get(kind, Cost()) + cost

    def doubt(self, edge: Hashable, most: Cost) -> None:
        """Something may have cost so much, and nobody knows."""
        self.account(edge).unknown += most

    def note(self, edge: Hashable, event: str, count: int = 1) -> None:
        self.account(edge).events[event] += count

    def total(self) -> Cost:
        """All edges together."""
        return sum((account.total for account in self.accounts.values()), Cost())
