"""A head of cosines: no class is louder than another; and it crosses as a linear one does."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.federate.test_session import ran
from tests.federate.tiny import config_of
from understudy.federate.heads import CosineHead, new_head


def test_logits_are_cosines() -> None:
    head = CosineHead(2, 3)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[3.0, 0.0], [0.0, 0.1], [-5.0, 5.0]]))
    found = head(torch.tensor([[2.0, 0.0]]))
    torch.testing.assert_close(found, 16 * torch.tensor([[1.0, 0.0, -(0.5**0.5)]]))
    with torch.no_grad():
        head.weight[1] *= 100
    torch.testing.assert_close(head(torch.tensor([[2.0, 0.0]])), found)


def test_heads_begin_with_the_same_draws() -> None:
    kinds: list[Any] = ["linear", "cosine"]
    after = []
    for kind in kinds:
        torch.manual_seed(0)
        new_head(config_of(head=kind), 4, 3)
        after.append(float(torch.rand(())))
    assert after[0] == after[1]


@pytest.mark.parametrize("kind", ["fed_lscl", "head", "lora", "prompts", "small_alone"])
def test_every_method_can_have_one(kind: str) -> None:
    method: dict[str, Any] = {"kind": kind, "head": "by_class"}
    if kind in ("fed_lscl", "lora"):
        method |= {"blocks": [1, 2], "rank": 2}
    server = {} if kind == "fed_lscl" else {"server": None}
    crew, crossed = ran(clients=2, tasks=1, rounds=1, method=method, head="cosine", **server)
    assert crossed
    assert isinstance(crew.populations[0][1].method.modules["head"], CosineHead)
    assert all(crew.populations[0][n].events == {} for n in (0, 1, 2))
