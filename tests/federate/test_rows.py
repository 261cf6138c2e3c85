"""Heads averaged class by class: each row by those who have the class, and by nobody else."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.federate.test_session import ran
from tests.federate.tiny import config_of
from understudy.errors import ConfigError
from understudy.federate.rows import COUNTS
from understudy.objectives.aggregation import mean_by_row

ONE: dict[str, Any] = {"clients": 2, "tasks": 1, "rounds": 1}
HEAD: dict[str, Any] = {"method": {"kind": "head", "head": "by_class"}, "server": None}
STEERED: dict[str, Any] = {"method": {"head": "by_class"}}


def test_a_row_is_the_mean_of_those_who_know_it() -> None:
    stack = torch.tensor([[[1.0], [2.0], [3.0]], [[5.0], [6.0], [7.0]]])  # clients, rows, 1
    counts = torch.tensor([[3.0, 0.0, 0.0], [1.0, 4.0, 0.0]])
    assert mean_by_row(stack, counts).tolist() == [[2.0], [6.0], [5.0]]
    assert mean_by_row(stack[:1], counts[:1]).tolist() == stack[0].tolist()


@pytest.mark.parametrize("kind", ["head", "lora", "small_alone"])
def test_a_class_that_one_client_has_is_its_own_and_the_rest_is_averaged(kind: str) -> None:
    method = {"kind": kind} | ({"blocks": [1, 2], "rank": 2} if kind == "lora" else {})
    alone, _ = ran(**ONE, method=method, server="none")
    crew, crossed = ran(**ONE, method=method | {"head": "by_class"}, server=None)
    learnt = [client.method for client in alone.populations[0][1:]]
    counts = torch.stack([each.class_counts() for each in learnt])
    rows = torch.stack([each.modules["head"].weight.detach() for each in learnt])
    for client in crew.populations[0][1:]:
        found = client.method.modules["head"].weight
        torch.testing.assert_close(found, mean_by_row(rows, counts))
        own = (counts > 0).sum(dim=0) == 1
        assert bool(own.any())
        for row in own.nonzero().flatten().tolist():
            owner = int(counts[:, row].argmax())
            torch.testing.assert_close(found[row], rows[owner][row])
    assert all((COUNTS in m.parcels[0].arrays) == (m.sender != 0) for m in crossed)


@pytest.mark.parametrize("server", ["o2d", "average"])
def test_a_steered_clients_head_crosses_only_where_it_is_said(server: str) -> None:
    _, crossed = ran(**ONE, method={}, server=server)
    assert "head" not in {each.kind for each in crossed}
    crew, crossed = ran(**ONE, **STEERED, server=server)
    sent = {(each.kind, each.sender == 0) for each in crossed}
    assert sent == {
        *((kind, False) for kind in ("generator", "features", "head")),
        *((kind, True) for kind in ("generator", "head")),
    }
    first, second = (client.method.modules["head"].weight for client in crew.populations[0][1:])
    torch.testing.assert_close(first, second)
    alone, _ = ran(**ONE, method={}, server="none")
    learnt = [client.method for client in alone.populations[0][1:]]
    counts = torch.stack([each.class_counts() for each in learnt])
    rows = torch.stack([each.modules["head"].weight.detach() for each in learnt])
    torch.testing.assert_close(first, mean_by_row(rows, counts))


def test_rows_come_to_a_client_that_has_no_features_to_learn_from() -> None:
    crew, crossed = ran(**ONE, method={"head": "by_class", "buffer": 0})
    assert {each.kind for each in crossed if each.sender == 0} == {"head"}
    assert crew.populations[0][1].events == {}


def test_a_mean_by_class_is_a_mean() -> None:
    with pytest.raises(ConfigError, match=r"head=by_class is a mean, but server.rule=median"):
        config_of(method=HEAD["method"], server={"kind": "average", "rule": "median"})
    with pytest.raises(ConfigError, match=r"which privacy.clip=1.0 does not guard"):
        config_of(**HEAD, privacy={"clip": 1.0})
    with pytest.raises(ConfigError, match=r"no effect with server\.kind=none"):
        config_of(**STEERED, server="none")
