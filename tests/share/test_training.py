"""Training together is training alone; the optimiser is torch's; lessons move what they should."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from understudy.actors.generators import generator_of
from understudy.share.learner import (
    Learner,
    add_candidate,
    drop_candidate,
    keep_candidate,
    new_learner,
)
from understudy.share.nets.stacked import NetShape, entrance
from understudy.share.training import Examples, Stack, Training, accuracies, train

MLP = NetShape("mlp", (6, 6), tasks=6, classes=2, modular=False, width=8)
MODULAR = NetShape("mlp", (6, 6), tasks=6, classes=2, modular=True, width=8)
CNN = NetShape("cnn", (1, 16, 16), tasks=5, classes=3, modular=True, width=4)


def examples_of(shape: NetShape, count: int, seed: int, tasks: tuple[int, ...] = (0,)) -> Examples:
    generator = torch.Generator().manual_seed(seed)
    task = torch.tensor(tasks)[torch.randint(len(tasks), (count,), generator=generator)]
    label = torch.randint(shape.classes, (count,), generator=generator)
    x = torch.rand(count, *shape.instance, generator=generator)
    x += label.view(-1, *[1] * len(shape.instance)) * 1.0
    return Examples(entrance(shape, x, 0), label, task)


def job(learner: Learner, examples: Examples, lesson: str, seed: int, epochs: int = 2) -> Training:
    return Training(learner, examples, lesson, range(epochs), (seed, 0))  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [MLP, MODULAR, CNN], ids=["mlp", "modular", "cnn"])
def test_together_is_alone(shape: NetShape) -> None:
    """Rows of 30, 70 and 130 examples: one, two and three minibatches. Convolutions of several rows
    are one call, which adds in another order."""
    close = {"rtol": 1e-4, "atol": 1e-6} if shape.kind == "cnn" else {"rtol": 0.0, "atol": 0.0}
    lesson = "assimilate" if shape.modular else "whole"
    learners = [new_learner(shape, seed) for seed in range(3)]
    if shape.modular:
        for seed, learner in enumerate(learners):
            add_candidate(learner, 4, seed)
    alone = copy.deepcopy(learners)
    data = [examples_of(shape, n, n, (4,)) for n in (30, 70, 130)]
    train([job(*each, lesson, i) for i, each in enumerate(zip(learners, data, strict=True))])
    for i, (learner, examples) in enumerate(zip(alone, data, strict=True)):
        train([job(learner, examples, lesson, i)])
    for one, other in zip(learners, alone, strict=True):
        for name, weight in one.weights.items():
            torch.testing.assert_close(weight, other.weights[name], **close, msg=name)
            for a, b in zip(one.moments[name], other.moments[name], strict=True):
                torch.testing.assert_close(a, b, **close, msg=name)


def test_examined_together_is_examined_alone() -> None:
    """To the last bit of every logit, whoever has more examples beside."""
    learners = [new_learner(MODULAR, seed) for seed in range(3)]
    data = [examples_of(MODULAR, n, n) for n in (5, 70, 150)]
    seen: list[torch.Tensor] = []
    with pytest.MonkeyPatch.context() as patch:
        whole = Stack.logits
        patch.setattr(Stack, "logits", lambda *a: seen.append(whole(*a)) or seen[-1])
        accuracies(learners, data)
        together = torch.cat(seen, dim=1)
        for row, (learner, examples) in enumerate(zip(learners, data, strict=True)):
            seen.clear()
            accuracies([learner], [examples])
            alone = torch.cat(seen, dim=1)[0, : len(examples)]
            assert torch.equal(together[row, : len(examples)], alone)


@pytest.mark.parametrize("dropout", [0.5, 0.25])
def test_dropout_leaves_its_share_and_makes_up_for_it(dropout: float) -> None:
    stack = Stack([new_learner(replace(MODULAR, dropout=dropout, width=64), 0)])
    kept = stack.kept([generator_of(1)], "whole")
    assert kept is not None
    assert [each.shape for each in kept.units] == [(1, 64, 4, 64)] * 4
    shares = torch.stack([each.float().mean() for each in kept.units])
    torch.testing.assert_close(shares, torch.full((4,), 1 - dropout), rtol=0.0, atol=0.02)
    assert kept.scale == 1 / (1 - dropout)
    assert not torch.equal(kept.units[0], kept.units[1])


def test_in_pieces_is_in_one_go() -> None:
    whole, pieces = new_learner(MLP, 3), new_learner(MLP, 3)
    data = examples_of(MLP, 50, 0)
    train([Training(whole, data, "whole", range(4), (7,))])
    for epochs in (range(1), range(1, 4)):
        train([Training(pieces, data, "whole", epochs, (7,))])
    for name, weight in whole.weights.items():
        assert torch.equal(weight, pieces.weights[name])


def test_without_dropout_a_step_is_that_of_torch() -> None:
    """One minibatch of a plain stack of layers, by torch's own Adam."""
    shape = NetShape("mlp", (6, 6), tasks=2, classes=2, modular=False, width=8, dropout=0.0)
    learner, data = new_learner(shape, 0), examples_of(shape, 20, 0, (0, 1))
    names = ("modules.weight", "modules.bias", "decoders.weight", "decoders.bias")
    weights = [learner.weights[name].clone().requires_grad_() for name in names]
    optimiser = torch.optim.Adam(weights, lr=1e-3)
    for _ in range(3):
        h = data.x
        for layer in range(4):
            h = F.linear(h, weights[0][layer], weights[1][layer]).relu()
        logits = torch.stack(
            [
                F.linear(row, weights[2][t], weights[3][t])
                for row, t in zip(h, data.task, strict=True)
            ]
        )
        optimiser.zero_grad()
        F.cross_entropy(logits, data.label).backward()
        optimiser.step()
    train([Training(learner, data, "whole", range(3), (0,))])
    for name, weight in zip(names, weights, strict=True):
        torch.testing.assert_close(learner.weights[name], weight.detach(), atol=2e-6, rtol=1e-4)


def moved(before: Learner, after: Learner) -> set[str]:
    return {
        name
        for name, weight in after.weights.items()
        if not torch.equal(weight, before.weights[name])
    }


def test_each_lesson_moves_what_it_should_and_nothing_else() -> None:
    learner = new_learner(MODULAR, 0)
    before = copy.deepcopy(learner)
    train([job(learner, examples_of(MODULAR, 80, 0, (0, 1, 2, 3)), "whole", 0)])
    assert moved(before, learner) == {
        "modules.weight",
        "modules.bias",
        "decoders.weight",
        "decoders.bias",
    }
    assert torch.equal(learner.weights["modules.weight"][4:], before.weights["modules.weight"][4:])
    learner.new_task()  # or Adam's momentum would go on moving the decoders of earlier tasks
    add_candidate(learner, 4, 0)
    before = copy.deepcopy(learner)
    train([job(learner, examples_of(MODULAR, 80, 1, (4,)), "assimilate", 0)])
    assert moved(before, learner) == {
        "candidate.weight",
        "candidate.bias",
        "structure",
        "decoders.weight",
        "decoders.bias",
    }
    for name in ("structure", "decoders.weight"):  # of this task alone
        assert torch.equal(learner.weights[name][:4], before.weights[name][:4])
    before = copy.deepcopy(learner)
    train([job(learner, examples_of(MODULAR, 80, 2, (0, 4)), "accommodate", 0)])
    assert moved(before, learner) == {
        "modules.weight",
        "modules.bias",
        "candidate.weight",
        "candidate.bias",
    }


def test_a_kept_candidate_computes_as_before_and_a_dropped_one_is_gone() -> None:
    learner = new_learner(MODULAR, 0)
    add_candidate(learner, 4, 0)
    data = examples_of(MODULAR, 40, 1, (4,))
    train([job(learner, data, "assimilate", 0)])
    batch = Examples(data.x[None], data.label[None], data.task[None])

    def logits(of: Learner, step: str = "exam") -> torch.Tensor:
        return Stack([of]).logits(batch, step, None)

    kept, dropped = copy.deepcopy(learner), copy.deepcopy(learner)
    keep_candidate(kept, 4)
    drop_candidate(dropped, 4)
    torch.testing.assert_close(logits(kept), logits(learner))
    torch.testing.assert_close(logits(dropped), logits(learner, "without"))
    assert (kept.modules, dropped.modules) == (5, 4)
    for other in (0, 3):  # earlier tasks do not see it
        same = Examples(batch.x, batch.label, torch.full_like(batch.task, other))
        one, two = (Stack([each]).logits(same, "exam", None) for each in (kept, dropped))
        torch.testing.assert_close(one, two)


def test_what_is_learnt_is_right_more_often_than_chance() -> None:
    shape = replace(MLP, width=32, dropout=0.25)
    learners = [new_learner(shape, seed) for seed in range(2)]
    data = [examples_of(shape, 128, seed, (0, 1)) for seed in (5, 6)]
    train([job(*each, "whole", 0, 100) for each in zip(learners, data, strict=True)])
    found = accuracies(learners, data)
    assert found.shape == (2, 6)
    assert found[:, :2].min() > 0.8
    assert found[:, 2:].isnan().all()


def test_a_penalty_is_added_to_each_ones_loss() -> None:
    free, held = new_learner(MLP, 0), new_learner(MLP, 0)
    start = free.weights["modules.weight"].clone()
    data = examples_of(MLP, 64, 0)
    train([job(free, data, "whole", 0, 10)])
    train(
        [job(held, data, "whole", 0, 10)],
        penalty=lambda w: 100 * (w["modules.weight"] - start).square().flatten(1).sum(dim=1),
    )
    assert (held.weights["modules.weight"] - start).norm() < (
        0.5 * (free.weights["modules.weight"] - start).norm()
    )
