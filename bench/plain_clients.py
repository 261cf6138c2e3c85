"""Clients of Fed-LSCL as one would write them first: a torch module and an optimiser for each, and
a loop over clients, epochs and minibatches. What bench/federate_rounds.py measures understudy
against."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STEERING = ("small", "projection", "generator")


class Steered(nn.Module):
    """A frozen layer beside which every sample has its own two matrices."""

    def __init__(self, layer: nn.Module, rows: slice, scale: float) -> None:
        super().__init__()
        self.layer, self.rows, self.scale = layer, rows, scale
        self.pair: tuple[Tensor, Tensor] | None = None

    def forward(self, z: Tensor) -> Tensor:
        y = self.layer(z)
        if self.pair is not None:
            a, b = self.pair
            low = torch.einsum("nti,nri->ntr", z, a)
            y = y + self.scale * torch.einsum("ntr,nor->nto", low, b[:, self.rows])
        return y


class Frozen:
    """A model of transformers whose chosen layers are steered."""

    def __init__(self, foundation: Any, blocks: Sequence[int], scale: float) -> None:
        self.module = deepcopy(foundation.module)
        self.steered: dict[int, list[Steered]] = {block: [] for block in blocks}
        for block in blocks:
            target, start = foundation.target(block), 0
            for name, rows in zip(target.layers, target.outputs, strict=True):
                parent, _, last = name.rpartition(".")
                layer = Steered(self.module.get_submodule(name), slice(start, start + rows), scale)
                setattr(self.module.get_submodule(parent), last, layer)
                self.steered[block].append(layer)
                start += rows
        self.module.requires_grad_(False).eval()

    def __call__(self, pixels: Tensor, matrices: Any) -> Tensor:
        for block, layers in self.steered.items():
            for layer in layers:
                layer.pair = matrices[block]
        features: Tensor = self.module(pixel_values=pixels).last_hidden_state[:, 0]
        return features


class PlainClient:
    """What one client holds. method: of understudy, whose first weights and data it takes."""

    def __init__(self, method: Any, frozen: Frozen | None) -> None:
        self.modules, self.frozen = deepcopy(method.modules), frozen
        self.tasks, self.classes = method.own.tasks, method.common.classes
        self.settings, self.local = method.settings, method.common.config.local
        self.buffer: list[tuple[Tensor, int]] = []  # places among the samples of earlier tasks
        self.previous: nn.ModuleDict | None = None

    def logits(self, small: Any, pixels: Tensor) -> Tensor:
        h = self.modules["projection"](self.modules["small"](small))
        if self.frozen is not None:
            h = self.frozen(pixels, self.modules["generator"](h))
        found: Tensor = self.modules["head"](h)
        return found

    def train(self, number: int) -> None:
        """One round of a task."""
        task = self.tasks[number]
        optimiser = torch.optim.Adam(self.modules.parameters(), lr=self.local.learning_rate)
        forbidden = torch.ones(self.classes, dtype=torch.bool)
        forbidden[list(task.classes)] = False
        for _ in range(self.local.epochs):
            for places in torch.randperm(len(task.train)).split(self.local.batch):
                part = task.train.rows(places)
                logits = self.logits(part.small, part.inputs["pixel_values"])
                loss = F.cross_entropy(logits.masked_fill(forbidden, -torch.inf), part.label)
                if self.previous is not None and self.settings.smcf.weight:
                    loss = loss + self.settings.smcf.weight * self.drift()
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()

    def drift(self) -> Tensor:
        chosen = torch.randperm(len(self.buffer))[: self.settings.smcf.batch].tolist()
        parts = [self.tasks[t].train.small for _, t in (self.buffer[c] for c in chosen)]
        names = parts[0]
        some = {
            name: torch.stack([part[name][self.buffer[c][0]] for part, c in zip(parts, chosen)])  # noqa: B905
            for name in names
        }
        assert self.previous is not None
        with torch.no_grad():
            before_h = self.previous["projection"](self.previous["small"](some))
            before = self.previous["generator"](before_h)
        h = self.modules["projection"](self.modules["small"](some))
        now = self.modules["generator"](h)
        loss = (h - before_h).square().sum(1).mean()
        for block in now:
            for one, other in zip(now[block], before[block], strict=True):
                loss = loss + (one - other).square().sum((1, 2)).mean()
        return loss

    def end(self, number: int) -> None:
        if self.frozen is None:
            return
        chosen = torch.randperm(len(self.tasks[number].train))[: self.settings.buffer]
        self.buffer += [(place, number) for place in chosen]
        self.previous = nn.ModuleDict({n: deepcopy(self.modules[n]) for n in STEERING})

    @torch.no_grad()
    def accuracy(self) -> float:
        found = []
        for task in self.tasks:
            forbidden = torch.ones(self.classes, dtype=torch.bool)
            forbidden[list(task.classes)] = False
            logits = self.logits(task.test.small, task.test.inputs["pixel_values"])
            right = logits.masked_fill(forbidden, -torch.inf).argmax(1) == task.test.label
            found.append(float(right.float().mean()))
        return sum(found) / len(found)


def run_plain(clients: Sequence[PlainClient], tasks: int, rounds: int) -> None:
    for task in range(tasks):
        for _ in range(rounds):
            for client in clients:
                client.train(task)
        for client in clients:
            client.end(task)
