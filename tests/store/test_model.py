"""The ledger against a simple model of it: lists of what was seen, held and spent, summed anew for
every question. Both go through the same random days."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from understudy.store.caps import Amounts, Cap, Refusal
from understudy.store.database import open_database
from understudy.store.ledger import Ledger
from understudy.store.operations import Hold, Operation, Reserve, Scopes, See, Settle, Standing
from understudy.store.windows import paced
from understudy.types import Cost

BEGIN = 20_000 * 1440  # a minute

SHARES = (
    Cap.of("total", "share", 0.4),
    Cap.of("key:*", "share", 0.5, "day"),
)
CAPS = (
    Cap.of("total", "dollars", 2.0, "day"),
    Cap.of("total", "tokens", 3000, "6h"),
    Cap.of("total", "calls", 40, "month"),
    Cap.of("total", "dollars", 4.0, "week", paced=True, at_once=0.3),
    Cap.of("team:*", "dollars", 1.2, "hour"),
    Cap.of("key:*", "calls", 5, "90m"),
    Cap.of("key:a", "tokens", 2000, "day"),
    Cap.of("key:a", "dollars", 30.0),
)
ASKERS: list[Scopes] = [
    ("total", "team:x", "key:a"),
    ("total", "team:x", "key:b"),
    ("total", "key:c"),
]


@dataclass
class Model:
    minute: int = BEGIN
    caps: tuple[Cap, ...] = ()
    seen: list[tuple[int, Scopes]] = field(default_factory=list)
    held: dict[str, tuple[int, Scopes, Amounts]] = field(default_factory=dict)
    spent: list[tuple[int, Scopes, Amounts]] = field(default_factory=list)

    def sums(self, cap: Cap, scope: str) -> tuple[int, int, int]:
        """What is allowed by now, spent and held of a cap."""
        start = cap.window.start(self.minute)
        part = "calls" if cap.unit == "share" else cap.unit

        def sum_of(entries: list[tuple[int, Scopes, Amounts]]) -> int:
            return sum(
                getattr(amounts, part)
                for minute, scopes, amounts in entries
                if minute >= start and scope in scopes
            )

        allowed = cap.most
        if cap.unit == "share":
            came = sum(minute >= start and scope in scopes for minute, scopes in self.seen)
            allowed = math.ceil(cap.share * came)
        if cap.paced:
            end = cap.window.end(self.minute)
            assert end is not None
            allowed = paced(cap.most, cap.at_once, start, end, self.minute * 60.0)
        return allowed, sum_of(self.spent), sum_of(list(self.held.values()))

    def of(self, scopes: Scopes) -> list[tuple[Cap, str]]:
        return [(cap, scope) for scope in scopes for cap in self.caps if cap.covers(scope)]

    def blocked(self, scopes: Scopes, cost: Cost) -> tuple[bool, bool]:
        """Whether there is no room for that, and whether nor would there be without any hold."""
        amounts = Amounts.of(cost)
        no_room = final = False
        for cap, scope in self.of(scopes):
            needed = getattr(amounts, "calls" if cap.unit == "share" else cap.unit)
            allowed, spent, held = self.sums(cap, scope)
            no_room |= spent + held + needed > allowed
            final |= spent + needed > allowed
        return no_room, final


class Days(RuleBasedStateMachine):
    """Random days of a ledger and its model."""

    @initialize(chosen=strategies.sets(strategies.sampled_from(CAPS)))
    def begin(self, chosen: set[Cap]) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.model = Model()
        self.open_holds: list[Hold] = []
        self.resolved: list[tuple[Hold, int]] = []  # with its place among what was spent
        self.open_anew(chosen)

    @rule(chosen=strategies.sets(strategies.sampled_from(CAPS)))
    def open_anew(self, chosen: set[Cap]) -> None:
        """Another process, maybe with other caps."""
        self.model.caps = (*SHARES, *(cap for cap in CAPS if cap in chosen))
        database = open_database(Path(self.folder.name) / "l.db")
        self.ledger = Ledger(database, self.model.caps, clock=lambda: self.model.minute * 60.0)

    @rule(minutes=strategies.integers(0, 3000))
    def wait(self, minutes: int) -> None:
        self.model.minute += minutes

    @rule(asker=strategies.sampled_from(ASKERS), times=strategies.integers(1, 4))
    def see(self, asker: Scopes, times: int) -> None:
        self.ledger.see(asker, times)
        self.model.seen += [(self.model.minute, asker)] * times

    @rule(
        asker=strategies.sampled_from(ASKERS),
        prompt=strategies.integers(0, 300),
        shortest=strategies.integers(0, 100),
        longer=strategies.integers(0, 1000),
        cents=strategies.integers(0, 10),
    )
    def reserve(self, asker: Scopes, prompt: int, shortest: int, longer: int, cents: int) -> None:
        def cost(tokens: int) -> Cost:
            return Cost(1, prompt, tokens, dollars=(prompt + tokens) * cents / 10_000)

        self.model.seen.append((self.model.minute, asker))
        most, least = cost(shortest + longer), cost(shortest)
        _, found = self.ledger.run([See(asker), Reserve(asker, most, least)])
        assert isinstance(found, Hold | Refusal)
        self.check(asker, most, least, found)

    def check(self, asker: Scopes, most: Cost, least: Cost, found: Hold | Refusal) -> None:
        no_room, final = self.model.blocked(asker, least)
        assert isinstance(found, Refusal) == no_room
        if isinstance(found, Refusal):
            assert found.final == final
            return
        assert not self.model.blocked(asker, found.cost)[0]
        if found.cost != most:  # as much as there is room for: a token more does not fit
            assert least.completion_tokens <= found.cost.completion_tokens < most.completion_tokens
            part = (found.cost.completion_tokens + 1 - least.completion_tokens) / (
                most.completion_tokens - least.completion_tokens
            )
            more = Cost(
                1,
                most.prompt_tokens,
                found.cost.completion_tokens + 1,
                dollars=least.dollars + part * (most.dollars - least.dollars),
            )
            assert self.model.blocked(asker, more)[0]
        self.open_holds.append(found)
        self.model.held[found.id] = (self.model.minute, asker, Amounts.of(found.cost))

    @precondition(lambda self: self.open_holds)
    @rule(
        data=strategies.data(),
        part=strategies.floats(0, 1.1),
        how=strategies.sampled_from(["settle", "release", "resolve", "upper bound"]),
    )
    def end(self, data: strategies.DataObject, part: float, how: str) -> None:
        hold = data.draw(strategies.sampled_from(self.open_holds))
        self.open_holds.remove(hold)
        minute, scopes, _ = self.model.held.pop(hold.id)
        cost = self.part_of(hold, part)
        if how == "settle":
            self.ledger.settle(hold, cost)
        elif how == "release":
            self.ledger.release(hold)
            return
        else:
            cost = cost if how == "resolve" else hold.cost
            assert self.ledger.resolve(hold, cost if how == "resolve" else None) is not None
            self.resolved.append((hold, len(self.model.spent)))
        self.model.spent.append((minute, scopes, Amounts.of(cost)))

    @precondition(lambda self: self.resolved)
    @rule(data=strategies.data(), part=strategies.floats(0, 1))
    def settle_late(self, data: strategies.DataObject, part: float) -> None:
        hold, place = data.draw(strategies.sampled_from(self.resolved))
        self.resolved.remove((hold, place))
        cost = self.part_of(hold, part)
        self.ledger.settle(hold, cost)
        minute, scopes, _ = self.model.spent[place]
        self.model.spent[place] = (minute, scopes, Amounts.of(cost))

    @precondition(lambda self: self.open_holds)
    @rule(asker=strategies.sampled_from(ASKERS), part=strategies.floats(0, 1))
    def together(self, asker: Scopes, part: float) -> None:
        """Many operations in one transaction: what ends makes room for what begins."""
        hold = self.open_holds.pop()
        cost, wanted = self.part_of(hold, part), Cost(1, 10, 50, dollars=0.3)
        operations: list[Operation] = [
            *(Reserve(asker, wanted, wanted) for _ in range(2)),
            See(asker, 2),
            Settle(hold, cost),
        ]
        results = self.ledger.run(operations)
        minute, scopes, _ = self.model.held.pop(hold.id)
        self.model.spent.append((minute, scopes, Amounts.of(cost)))
        self.model.seen += [(self.model.minute, asker)] * 2
        for found in results[:2]:
            assert isinstance(found, Hold | Refusal)
            self.check(asker, wanted, wanted, found)

    @invariant()
    def they_agree(self) -> None:
        for asker in ASKERS:
            standing = self.ledger.standing(asker)
            assert [(each.cap, each.scope) for each in standing] == self.model.of(asker)
            for each in standing:
                assert whole(each) == self.model.sums(each.cap, each.scope)[1:]

    def part_of(self, hold: Hold, part: float) -> Cost:
        cost = hold.cost
        tokens = int(part * cost.completion_tokens)
        return Cost(1, cost.prompt_tokens, tokens, dollars=round(part * cost.dollars, 6))

    def teardown(self) -> None:
        self.ledger.close()
        self.ledger.database.close()
        self.folder.cleanup()


def whole(standing: Standing) -> tuple[int, int]:
    times = 10**12 if standing.cap.unit == "dollars" else 1
    return round(standing.spent * times), round(standing.held * times)


Days.TestCase.settings = settings(max_examples=15, stateful_step_count=25)
TestDays = Days.TestCase


class ManyDays(Days):
    pass


ManyDays.TestCase.settings = settings(max_examples=300, stateful_step_count=60)
TestManyDays = pytest.mark.slow(ManyDays.TestCase)
