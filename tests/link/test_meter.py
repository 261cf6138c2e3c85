"""The meter: costs add, by edge and by kind, in the order in which they come."""

from __future__ import annotations

import random
from dataclasses import fields

from understudy.link import Meter
from understudy.types import Cost, Reply


def drawn(luck: random.Random) -> Cost:
    return Cost(*(luck.randrange(9) if f.type == "int" else luck.random() for f in fields(Cost)))


def test_a_total_is_the_sum_over_kinds_and_edges() -> None:
    luck, meter, charged = random.Random(0), Meter(), []
    for _ in range(200):
        edge, kind, cost = luck.choice([(0, 1), (1, 0), "cloud"]), luck.choice("ab"), drawn(luck)
        meter.charge(edge, kind, cost)
        charged.append((edge, kind, cost))
    for edge, account in meter.accounts.items():
        own = [cost for each, _, cost in charged if each == edge]
        assert account.total == sum(own, Cost())  # to the bit: in the order in which they came
        for kind, cost in account.by_kind.items():
            assert cost == sum((c for e, k, c in charged if (e, k) == (edge, kind)), Cost())
    assert meter.total().calls == sum(cost.calls for _, _, cost in charged)


def test_costs_add_field_by_field() -> None:
    names = [each.name for each in fields(Cost)]
    one, two = (Cost(**{name: base + i for i, name in enumerate(names)}) for base in (1, 10))
    assert one + two == Cost(**{name: 11 + 2 * i for i, name in enumerate(names)})


def test_a_reply_costs_what_was_tried_before_it_too() -> None:
    first = Reply("half", 3, 4, 0.5, 1.0, error="truncated", cloud="1 openai")
    second = Reply("whole", 5, 6, 0.25, 2.0, cloud="2 simulated", tried=(first,))
    assert second.cost == Cost(2, 8, 10, dollars=0.75, seconds=3.0)
    assert Reply.from_json(second.to_json()) == second
    assert set(Reply("a").to_json()) == {
        "text",
        "prompt_tokens",
        "completion_tokens",
        "dollars",
        "seconds",
        "error",
    }
