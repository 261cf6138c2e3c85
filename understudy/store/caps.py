"""Caps: what may be spent, by whom, in which time. Pure arithmetic over whole amounts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Literal, NamedTuple

from understudy.errors import ConfigError
from understudy.link import Refusal as LinkRefusal
from understudy.store.windows import ALWAYS, LIFETIME, Window, paced, paced_until
from understudy.types import Cost

Unit = Literal["dollars", "tokens", "calls", "share"]
UNITS: tuple[Unit, ...] = ("dollars", "tokens", "calls", "share")

PICODOLLARS = 10**12  # of a dollar: sums of whole units do not drift
_LARGEST = 9 * 10**6 * PICODOLLARS  # the databases' whole numbers have 64 bits
MOST_OF_A_CALL = 2**53  # of anything (so $9007): a thousand such calls can be added up


class Amounts(NamedTuple):
    """What a call takes, in the units of caps; dollars are whole picodollars."""

    calls: int = 0
    tokens: int = 0
    dollars: int = 0

    @classmethod
    def of(cls, cost: Cost) -> Amounts:
        tokens = cost.prompt_tokens + cost.completion_tokens
        return cls(cost.calls, tokens, picodollars(cost.dollars))

    def plus(self, other: Amounts) -> Amounts:
        return Amounts(
            self.calls + other.calls, self.tokens + other.tokens, self.dollars + other.dollars
        )

    def minus(self, other: Amounts) -> Amounts:
        return Amounts(
            self.calls - other.calls, self.tokens - other.tokens, self.dollars - other.dollars
        )


def picodollars(dollars: float) -> int:
    if not 0 <= dollars < math.inf:
        raise ValueError(f"{dollars} dollars: a cost is a finite number, 0 or more")
    if dollars < 1000:  # exact in a float, and quick
        return round(dollars * PICODOLLARS)
    return round(Fraction(dollars) * PICODOLLARS)


def cut_to_count(cost: Cost) -> Cost:
    """The cost of a call that was made, cut to what the ledger can count of one call."""
    most_tokens, most_dollars = MOST_OF_A_CALL // 2, float(MOST_OF_A_CALL // PICODOLLARS)
    if (
        cost.calls <= MOST_OF_A_CALL
        and cost.prompt_tokens <= most_tokens
        and cost.completion_tokens <= most_tokens
        and cost.dollars <= most_dollars
    ):
        return cost
    return Cost(
        min(cost.calls, MOST_OF_A_CALL),
        min(cost.prompt_tokens, most_tokens),
        min(cost.completion_tokens, most_tokens),
        dollars=min(cost.dollars, most_dollars),
    )


@dataclass(frozen=True, slots=True)
class Cap:
    """At most so much, for one scope, in one window.

    scope: `total`, `team:NAME`, `key:ID`; `team:*` and `key:*` are for each of them.
    most: whole units (picodollars, tokens, calls). share: of the questions seen, at most so large
    a part is asked, rounded up: asked(n) <= ceil(share * n) for every n.
    paced: spread evenly over a calendar window, of which `at_once` is there from its beginning.
    """

    scope: str
    unit: Unit
    most: int = 0
    share: Fraction = Fraction(0)
    window: Window = ALWAYS
    paced: bool = False
    at_once: float = 0.1

    @classmethod
    def of(
        cls,
        scope: str,
        unit: Unit,
        most: float,
        window: Window | str = LIFETIME,
        *,
        paced: bool = False,
        at_once: float = 0.1,
    ) -> Cap:
        """most: in dollars, tokens, calls, or as a share between 0 and 1."""
        window = Window.of(window) if isinstance(window, str) else window
        where = f"cap of {most:g} {unit} per {window.name} on {scope}"
        check_scope(scope, where)
        if unit not in UNITS:
            raise ConfigError(f"{where}: the unit is one of {', '.join(UNITS)}")
        if not 0 <= most < math.inf:
            raise ConfigError(f"{where}: write a number of at least 0")
        if unit == "share" and (most > 1 or window.kind == "rolling" or paced):
            raise ConfigError(
                f"{where}: a share is 0 to 1, not paced, per {LIFETIME} or in a calendar window"
            )
        if paced and not (window.is_calendar and 0 <= at_once <= 1):
            raise ConfigError(
                f"{where}: pacing needs a window of the calendar and at_once between 0 and 1"
            )
        if unit == "share":
            return cls(scope, unit, share=Fraction(repr(float(most))), window=window)
        whole = picodollars(most) if unit == "dollars" else int(most)
        if whole > _LARGEST:
            raise ConfigError(f"{where}: is more than the ledger can count")
        return cls(scope, unit, whole, window=window, paced=paced, at_once=at_once)

    @property
    def name(self) -> str:
        """Such as dollars/day."""
        return f"{self.unit}/{self.window.name}"

    def covers(self, scope: str) -> bool:
        if self.scope.endswith(":*"):
            return scope.startswith(self.scope[:-1])
        return scope == self.scope

    def account(self, scope: str) -> str:
        """The name of the account that it reads. Shares count for themselves, from their
        beginning; other caps on a scope and window have one account."""
        kind = "share" if self.unit == "share" else "spent"
        return f"{scope} {kind} {self.window.name}"


def check_scope(scope: str, where: str) -> None:
    kind, _, name = scope.partition(":")
    if scope != "total" and not (kind in ("team", "key") and name):
        raise ConfigError(f"{where}: a scope is total, team:NAME or key:ID, or team:* or key:*")


@dataclass(slots=True)
class Account:
    """What a scope spent and holds in a window, from minute `start` on."""

    name: str
    scope: str
    window: str
    start: int
    seen: int = 0
    calls: int = 0
    tokens: int = 0
    dollars: int = 0
    held_calls: int = 0
    held_tokens: int = 0
    held_dollars: int = 0

    def hold(self, amounts: Amounts) -> None:
        self.held_calls += amounts.calls
        self.held_tokens += amounts.tokens
        self.held_dollars += amounts.dollars

    def let_go(self, amounts: Amounts) -> None:
        self.held_calls -= amounts.calls
        self.held_tokens -= amounts.tokens
        self.held_dollars -= amounts.dollars

    def spend(self, amounts: Amounts) -> None:
        self.calls += amounts.calls
        self.tokens += amounts.tokens
        self.dollars += amounts.dollars

    def spent_of(self, unit: Unit) -> int:
        return (
            self.dollars if unit == "dollars" else self.tokens if unit == "tokens" else self.calls
        )

    def held_of(self, unit: Unit) -> int:
        if unit == "dollars":
            return self.held_dollars
        return self.held_tokens if unit == "tokens" else self.held_calls


@dataclass(frozen=True, slots=True)
class Refusal(LinkRefusal):
    """No room. final: nor would there be if every hold were released.

    what: the cap, such as dollars/day; resets_at: when, in seconds since 1970, there is room again
    if nothing else is spent; None: not known, as of holds that may be released at any moment, or
    never.
    """

    scope: str = ""
    resets_at: float | None = None
    left: Mapping[str, float] = field(default_factory=dict)  # of each cap, by its name
    too_small: bool = False  # the cap is, for any call such as this one


UNCOUNTED = "one call"  # what a refusal names that no cap makes


def uncountable(most: Cost) -> Refusal | None:
    """Why no ledger can hold a call of this cost; None: it can."""
    if most.dollars != math.inf and max(Amounts.of(most)) <= MOST_OF_A_CALL:
        return None
    tokens = most.prompt_tokens + most.completion_tokens
    reason = (
        f"a call of {tokens} tokens that may cost ${decimal(most.dollars)} is more than the "
        f"ledger counts of one, ${MOST_OF_A_CALL // PICODOLLARS}; bound it by a smaller max_tokens"
    )
    return Refusal(UNCOUNTED, reason, final=True)


class Room(NamedTuple):
    """A cap and what is left of it now."""

    cap: Cap
    account: Account
    allowed: int  # by now

    @property
    def unspent(self) -> int:
        """What is left when every hold is released."""
        return self.allowed - self.account.spent_of(self.cap.unit)

    @property
    def left(self) -> int:
        return self.unspent - self.account.held_of(self.cap.unit)


def room_of(cap: Cap, account: Account, now: float) -> Room:
    """What a cap leaves at that time, in seconds."""
    if cap.unit == "share":
        return Room(cap, account, math.ceil(cap.share * account.seen))
    if not cap.paced:
        return Room(cap, account, cap.most)
    end = cap.window.end(account.start)
    assert end is not None, "only windows of the calendar are paced"
    return Room(cap, account, paced(cap.most, cap.at_once, account.start, end, now))


def granted(most: Cost, least: Cost, rooms: Iterable[Room]) -> Cost | Refusal:
    """What may be held for a call: `most` where all caps have room for it, never under `least`.

    Between the two every part of the cost grows with the answer's length, so all are cut alike:
    where dollars leave room for a third of the answer, tokens are held for a third too.
    """
    upper, lower = Amounts.of(most), Amounts.of(least)
    fraction: Fraction | None = None  # None: all of it
    blocked: Refusal | None = None
    for room in rooms:
        unit = room.cap.unit
        column = "calls" if unit == "share" else unit
        needed, wanted = getattr(lower, column), getattr(upper, column)
        if needed > room.left:
            refusal = _refusal(room, needed)
            if refusal.final:
                return refusal
            blocked = blocked or refusal
        elif wanted > room.left:
            part = Fraction(room.left - needed, wanted - needed)
            fraction = part if fraction is None else min(fraction, part)
    if blocked is not None:
        return blocked
    return most if fraction is None else _between(least, most, fraction)


def _between(least: Cost, most: Cost, fraction: Fraction) -> Cost:
    """`least` and that part of what `most` has more, in whole tokens of the answer."""
    longer = most.completion_tokens - least.completion_tokens
    if longer > 0:
        fraction = Fraction(math.floor(fraction * longer), longer)
    lower, upper = Amounts.of(least), Amounts.of(most)
    dollars = lower.dollars + math.ceil(fraction * (upper.dollars - lower.dollars))
    prompt = least.prompt_tokens + math.floor(fraction * (most.prompt_tokens - least.prompt_tokens))
    completion = least.completion_tokens + math.floor(fraction * longer)
    return Cost(least.calls, prompt, completion, dollars=dollars / PICODOLLARS)


def _refusal(room: Room, needed: int) -> Refusal:
    cap, account = room.cap, room.account
    spent, held = account.spent_of(cap.unit), account.held_of(cap.unit)
    if cap.unit == "share":
        allowed = shown("calls", room.allowed)
        limit = f"a share of {float(cap.share):g} of {account.seen} questions is {allowed}"
    else:
        limit = f"{shown(cap.unit, cap.most)} at most per {cap.window.name}"
        if cap.paced:
            limit += f", {shown(cap.unit, room.allowed)} by now"
    reason = (
        f"{account.scope}: {limit}, with {shown(cap.unit, spent)} spent and "
        f"{shown(cap.unit, held)} held"
    )
    if cap.unit in ("dollars", "tokens"):
        reason += f"; the call takes at least {shown(cap.unit, needed)}"
    too_small = cap.unit != "share" and needed > cap.most
    if too_small:
        reason = (
            f"{account.scope}: a cap of {shown(cap.unit, cap.most)} per {cap.window.name} is "
            f"smaller than the call takes at least, {shown(cap.unit, needed)}"
        )
    final = needed > room.unspent
    again = _room_again(room, needed) if final else None
    return Refusal(
        cap.name, reason, final, scope=account.scope, resets_at=again, too_small=too_small
    )


def _room_again(room: Room, needed: int) -> float | None:
    """When the window lets so much go, if nothing else is spent."""
    cap, start = room.cap, room.account.start
    end = cap.window.end(start)
    if end is None or (needed > cap.most and cap.unit != "share"):
        return None
    if cap.paced and (total := room.account.spent_of(cap.unit) + needed) <= cap.most:
        return paced_until(total, cap.most, cap.at_once, start, end)
    return end * 60.0


def left_of(rooms: Iterable[Room]) -> dict[str, float]:
    """What is left of each cap, by its name such as dollars/day; of several of one name the
    least."""
    left: dict[str, float] = {}
    for room in rooms:
        name, amount = room.cap.name, in_unit(room.cap.unit, max(room.left, 0))
        left[name] = min(amount, left.get(name, amount))
    return left


def in_unit(unit: Unit, whole: int) -> float:
    """Whole units as people write them."""
    return whole / PICODOLLARS if unit == "dollars" else whole


def decimal(value: float) -> str:
    """Nine digits that count, never with an exponent.

    >>> decimal(0.00002), decimal(4.25), decimal(12)
    ('0.00002', '4.25', '12')
    """
    return format(Decimal(f"{value:.9g}"), "f")


def shown(unit: Unit, whole: int) -> str:
    if unit == "dollars":
        return f"${decimal(in_unit(unit, whole))}"
    name = "calls" if unit == "share" else unit
    return f"{whole} {name.removesuffix('s') if whole == 1 else name}"
