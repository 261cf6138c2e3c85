"""What can be done to the ledger, and what comes of it: plain records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from understudy.link import Hold as LinkHold
from understudy.store.caps import UNITS, Amounts, Cap, Refusal, Unit, in_unit
from understudy.types import Cost

# Whom a request counts for, such as ("total", "team:x", "key:y").
Scopes = tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Hold(LinkHold):
    """Room that is reserved for one call: `cost` at most."""

    id: str
    scopes: Scopes
    minute: int  # its window is the one in which it was reserved
    request_id: str = ""
    cloud: str = ""
    # Of each cap, by its name such as dollars/day: what was left after this hold.
    left: Mapping[str, float] = field(default_factory=dict)


def left_after(hold: Hold, cost: Cost) -> dict[str, float]:
    """What is left of each cap once a call has cost so much, of what was held for it.

    >>> held = Hold(Cost(1, 10, 20, dollars=0.5), "h", (), 0, left={"dollars/day": 4.5})
    >>> left_after(held, Cost(1, 10, 5, dollars=0.125))
    {'dollars/day': 4.875}
    """
    back = Amounts.of(hold.cost).minus(Amounts.of(cost))
    return {
        name: max(amount + in_unit(*_returned(name, back)), 0.0)
        for name, amount in hold.left.items()
    }


def _returned(cap: str, back: Amounts) -> tuple[Unit, int]:
    """The unit of a cap's name, and how much of it comes back."""
    unit = next(unit for unit in UNITS if cap.startswith(unit))
    return unit, getattr(back, "calls" if unit == "share" else unit)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a scope stands to one of its caps; amounts in the cap's unit. A share's `most` is the
    share, and `left` is in calls."""

    cap: Cap
    scope: str
    most: float
    spent: float
    held: float
    left: float
    resets_at: float | None  # seconds since 1970; None: at no one moment


@dataclass(frozen=True, slots=True)
class Resolved:
    """A hold that nobody settled in time, and what was charged for it."""

    hold: Hold
    cost: Cost
    how: str  # "usage": what the cloud says it served; "upper bound": all that was held


@dataclass(frozen=True, slots=True, eq=False)
class See:
    """So many more questions came, asked or not."""

    scopes: Scopes
    questions: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Reserve:
    """Room for a call of at most `most`; less where a cap leaves less, never under `least`."""

    scopes: Scopes
    most: Cost
    least: Cost
    request_id: str = ""
    cloud: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Settle:
    """The call was made and cost this. again: it may have been written before."""

    hold: Hold
    cost: Cost
    again: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Release:
    """The call was not made."""

    hold: Hold
    again: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Resolve:
    """Nobody settled this hold in time: charge `cost`, or all of it where that is None."""

    hold: Hold
    cost: Cost | None


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """How the scopes stand to their caps."""

    scopes: Scopes


Ending = Settle | Release | Resolve
Operation = See | Reserve | Ending | Look
# An operation on a hold that is not there gives the error, so that the rest of its batch is done.
Result = Hold | Refusal | Resolved | list[Standing] | ValueError | None
