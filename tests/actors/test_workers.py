"""Agents in processes of their own: the same numbers, and a clear end when one of them dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from copy import deepcopy
from multiprocessing import active_children
from typing import Any

import pytest

from tests.actors.same import same
from understudy.actors.crew import together
from understudy.actors.loop import run
from understudy.actors.workers import Workers
from understudy.errors import RunError
from understudy.share.clock import moments_of
from understudy.share.population import Agents, carriers_of
from understudy.share.settings import ShareConfig

CONFIG = ShareConfig(
    data_options={"per_class": 50},
    agents=3,
    tasks=6,
    epochs=2,
    train_per_class=8,
    validation_per_class=8,
    evaluate_every=1,
    width=8,
    keep_above=-1.0,
    slowest=1.5,
    seeds=[0, 1],
    share_parameters={"mode": "fedprox", "every": 1},  # type: ignore[arg-type]
    share_modules={"mode": "iou"},  # type: ignore[arg-type]
    share_data={"mode": "receiver", "every": 1, "queries": 2},  # type: ignore[arg-type]
    graph={"loss": 0.2},  # type: ignore[arg-type]
)

FACTORY = Agents(CONFIG)


@pytest.fixture
def nothing_left() -> Iterator[None]:
    yield
    assert active_children() == []


@pytest.mark.usefixtures("nothing_left")
def test_two_processes_give_the_numbers_of_one() -> None:
    """And go on from the states of a crew that was closed on the way; then one of them dies."""
    carriers, again = carriers_of(CONFIG), carriers_of(CONFIG)
    moments, middle = moments_of(CONFIG), 8
    one = together(FACTORY)
    run(one, carriers, moments)

    crew = Workers(FACTORY, 2)
    try:
        run(crew, again, moments[:middle])
        kept = deepcopy((crew.states(), [carrier.state() for carrier in again]))
        run(crew, again, moments[: middle + 2], start=middle)
        assert not same(crew.states(), kept[0])
        crew.restore(kept[0])
        for carrier, state in zip(again, kept[1], strict=True):
            carrier.restore(state)
        assert same(crew.states(), kept[0])
        assert crew.logs() == [[state["curve"] for state in row] for row in kept[0]]
        run(crew, again, moments, start=middle)
        assert same(crew.states(), one.states())
        assert same(crew.logs(), one.logs())
        assert crew.reports() == one.reports()
        assert [each.totals() for each in again] == [each.totals() for each in carriers]

        crew.restore(kept[0])  # so that the other, should it be asked first, finds nothing wrong
        os.kill(victim := active_children()[0].pid or 0, signal.SIGKILL)
        with pytest.raises(RunError, match=rf"worker \d of 2 \(process {victim}\) ended by signal"):
            run(crew, again, moments, start=middle)
        with pytest.raises(RunError, match="have ended"):
            crew.states()
    finally:
        crew.close()
        crew.close()


@pytest.mark.usefixtures("nothing_left")
def test_what_goes_wrong_in_a_worker_is_said_and_ends_all() -> None:
    lonely = CONFIG.model_copy(update={"agents": 1, "seeds": [0]})
    crew = Workers(Agents(lonely), 9)  # more than there are agents
    state: dict[str, Any] = {"learner": None}
    with pytest.raises(RunError, match=r"a worker failed: Traceback[\s\S]*KeyError"):
        crew.restore([[state | {"curve": []}]])
    assert active_children() == []
