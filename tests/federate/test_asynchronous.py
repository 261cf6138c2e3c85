"""A server that takes uploads as they come: what is old counts less."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.federate.test_server import served, server_of, upload
from tests.federate.test_session import ran
from understudy.federate.crossing import ABOUT
from understudy.federate.methods.fed_lscl import GENERATOR
from understudy.link.carrier import Message


def values(outbox: list[Message]) -> set[float]:
    """All numbers that the server sends: its model has one value everywhere."""
    return {
        round(float(number), 5)
        for each in outbox
        for name, array in each.parcels[0].arrays.items()
        if name != ABOUT
        for number in array.unique()
    }


def test_what_is_old_counts_less_and_the_model_moves_by_the_rate() -> None:
    server = server_of(server={"kind": "asynchronous", "rate": 0.5, "power": 1})
    assert values(served(server, upload(server, 1, 4.0), round_=0)) == {4.0}
    # Of 10 samples each: an upload of this round and one that is two rounds old, a third of it.
    sent = [*upload(server, 1, 8.0, round_=2), *upload(server, 2, 0.0, round_=0)]
    assert values(served(server, sent, round_=2)) == {0.5 * 4 + 0.5 * 6}
    assert server.log[1].figures["age"] == {1: 0.0, 2: 2.0}
    kept = server.state()
    other = server_of(server={"kind": "asynchronous", "rate": 0.5, "power": 1})
    other.restore(kept)
    assert values(served(other, upload(other, 3, 7.0, round_=3), round_=3)) == {6.0}


def test_it_is_the_mean_by_samples_where_nothing_is_late() -> None:
    one: dict[str, Any] = {"tasks": 1, "method": {"kind": "head"}}
    crew, _ = ran(**one, server={"kind": "asynchronous", "rate": 1, "power": 0})
    mean, _ = ran(**one, server="average")
    for client, other in zip(crew.populations[0][1:], mean.populations[0][1:], strict=True):
        same = other.method.modules.state_dict()
        for name, weight in client.method.modules.state_dict().items():
            assert torch.equal(same[name], weight)


@pytest.mark.parametrize("server", ["asynchronous", "o2d"])
def test_slow_links_bring_old_uploads_which_are_used(server: str) -> None:
    crew, crossed = ran(rounds=5, tasks=1, server=server, link={"latency_spread": 6}, seeds=[1])
    log = crew.populations[0][0].log
    assert {len(each.accepted) for each in log} != {3}
    assert not any(each.refused for each in log)
    assert any(each.kind == GENERATOR and each.sender == 0 for each in crossed)
    if server == "asynchronous":
        assert any(age for each in log for age in each.figures.get("age", {}).values())
