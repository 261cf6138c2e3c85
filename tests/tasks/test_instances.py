"""Labelled instances: what is generated, and how classes are split."""

from __future__ import annotations

import torch

from understudy.tasks.instances import generated_instances, split_by_class


def test_generated_pictures_repeat_and_differ_by_class() -> None:
    one, other = generated_instances(per_class=40), generated_instances(per_class=40)
    assert torch.equal(one.x, other.x)
    assert one.x.shape == (400, 8, 8)
    assert 0 <= one.x.min() < one.x.max() <= 1
    means = torch.stack([one.x[one.label == name].mean(dim=0).flatten() for name in range(10)])
    apart = torch.cdist(means, means) + torch.eye(10) * 9
    assert apart.min() > 0.5


def test_every_class_is_split_whole_by_its_own_share() -> None:
    label = torch.tensor([5] * 10 + [2] * 4 + [5] * 5)
    found = split_by_class(label, 0.2, seed=3)
    assert list(found) == [2, 5]
    for name, (train, held) in found.items():
        places = sorted([*train.tolist(), *held.tolist()])
        assert places == (label == name).nonzero().flatten().tolist()
    assert [len(held) for _, held in found.values()] == [1, 3]
    assert split_by_class(label, 0.2, seed=4)[5][1].tolist() != found[5][1].tolist()
