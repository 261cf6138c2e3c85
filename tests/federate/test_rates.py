"""What steers learns at a rate of its own: alone, and computed with others."""

from __future__ import annotations

from typing import Any

import pytest

from tests.federate.tiny import config_of
from understudy.federate.lesson import Lesson
from understudy.federate.population import Federation
from understudy.federate.together import trained


@pytest.mark.parametrize("together", [1, 2])
def test_adams_first_step_is_the_rate_of_each_part(together: int) -> None:
    config = config_of(
        clients=2,
        method={"steering_rate": 0.25},
        server="none",
        local={"batch": 8, "steps": 1, "learning_rate": 0.01, "together": together},
    )
    federation = Federation(config)
    methods: list[Any] = [federation.actor(0, number).method for number in (1, 2)]
    before = [{n: p.detach().clone() for n, p in m.modules.named_parameters()} for m in methods]
    for method in methods:
        method.start(method.own.tasks[0])
    trained(methods, [Lesson(0, 0, method.own.seed, config.local) for method in methods])
    for method, known in zip(methods, before, strict=True):
        moved = {
            name: float((each.detach() - known[name]).abs().max())
            for name, each in method.modules.named_parameters()
        }
        assert moved["head.weight"] == pytest.approx(0.01, rel=0.01)
        last = {name: each for name, each in moved.items() if name.startswith("generator.b.")}
        assert len(last) == 4
        assert all(each == pytest.approx(0.0025, rel=0.02) for each in last.values())
