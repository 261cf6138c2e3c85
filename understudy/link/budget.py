"""Hard caps on what crosses a link: room is reserved before a call and settled after it."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass, fields
from fractions import Fraction

from understudy.types import Cost

_FIELDS = {each.name for each in fields(Cost)}
_UNITS = 10**12  # of a dollar or a second: sums of whole units do not drift


@dataclass(frozen=True, slots=True, eq=False)
class Hold:
    """Room that is reserved for one call."""

    cost: Cost


@dataclass(frozen=True, slots=True)
class Refusal:
    """No room. final: nor would there be if every hold were released."""

    what: str  # the part of the cost that has no room, or "share"
    reason: str
    final: bool


class Budget:
    """Caps that hold at every moment, from any number of threads.

    caps: most of each part of a cost, as {"calls": 100, "dollars": 2.5}. share: of all questions
    seen, at most so large a share, rounded up, is called for: calls <= ceil(share * seen).

    What is spent and what is held never pass a cap, as long as no call settles for more than was
    held for it. Where one does, it is spent all the same and noted in `overruns`. A reservation is
    refused only where it does not fit.
    """

    def __init__(self, caps: Mapping[str, float] | None = None, share: float | None = None) -> None:
        if unknown := set(caps or {}) - _FIELDS:
            raise ValueError(f"no part of a cost: {', '.join(sorted(unknown))}")
        self.caps = dict(caps or {})
        self.share = share
        self.overruns = 0  # calls that cost more than was held for them
        self._share = None if share is None else Fraction(repr(share))
        self._limits = {name: _units(cap) for name, cap in self.caps.items()}
        self._parts = {*self._limits} | ({"calls"} if share is not None else set())
        self._spent = dict.fromkeys(self._parts, 0)
        self._held = dict.fromkeys(self._parts, 0)
        self._holds: set[Hold] = set()
        self._seen = 0
        self._lock = threading.Lock()

    def see(self, questions: int = 1) -> None:
        """So many more questions came, asked or not: the share is of these."""
        with self._lock:
            self._seen += questions

    def reserve(self, cost: Cost) -> Hold | Refusal:
        """Room for a call of at most that cost."""
        wanted = self._amounts(cost)
        with self._lock:
            for part, amount in wanted.items():
                limit = self._limits.get(part)
                if limit is not None and self._spent[part] + self._held[part] + amount > limit:
                    return self._refusal(part, amount, limit)
            if self._share is not None:
                allowed = math.ceil(self._share * self._seen) * _UNITS
                taken = self._spent["calls"] + wanted["calls"]
                if taken + self._held["calls"] > allowed:
                    reason = (
                        f"a share of {self.share} of {self._seen} questions is "
                        f"{allowed // _UNITS} calls"
                    )
                    return Refusal("share", reason, final=taken > allowed)
            hold = Hold(cost)
            self._holds.add(hold)
            for part, amount in wanted.items():
                self._held[part] += amount
            return hold

    def settle(self, hold: Hold, cost: Cost) -> None:
        """The call was made and cost this."""
        with self._lock:
            held, spent = self._let_go(hold), self._amounts(cost)
            self.overruns += any(amount > held[part] for part, amount in spent.items())
            self._spend(spent)

    def release(self, hold: Hold) -> None:
        """The call was not made."""
        with self._lock:
            self._let_go(hold)

    def charge(self, cost: Cost) -> None:
        """What was spent without a reservation, such as before this process began."""
        with self._lock:
            self._spend(self._amounts(cost))

    def spent(self, part: str) -> float:
        """So far, of a part of the cost that has a cap."""
        return self._spent[part] / _UNITS

    def _spend(self, amounts: Mapping[str, int]) -> None:
        for part, amount in amounts.items():
            self._spent[part] += amount

    def _let_go(self, hold: Hold) -> dict[str, int]:
        if hold not in self._holds:
            raise ValueError("this hold was settled or released before, or is of another budget")
        self._holds.remove(hold)
        amounts = self._amounts(hold.cost)
        for part, amount in amounts.items():
            self._held[part] -= amount
        return amounts

    def _amounts(self, cost: Cost) -> dict[str, int]:
        return {part: _units(getattr(cost, part)) for part in self._parts}

    def _refusal(self, part: str, amount: int, limit: int) -> Refusal:
        spent, held = self._spent[part], self._held[part]
        reason = (
            f"{self.caps[part]:g} {part} at most, of which {spent / _UNITS:g} are spent and "
            f"{held / _UNITS:g} held; the call may take {amount / _UNITS:g}"
        )
        return Refusal(part, reason, final=spent + amount > limit)


def _units(value: float) -> int:
    if not 0 <= value < math.inf:
        raise ValueError(f"{value}: a cost or a cap is a finite number, 0 or more")
    return round(Fraction(value) * _UNITS)
