"""Clients that are alike trained as one: their weights are stacked, clients first.

What each client has of its own (small network, projection, generator, head) is computed for all of
them by batched products; what they share, the frozen network, reads their samples as one batch.
Every client keeps its own minibatches, random numbers, loss and steps of Adam, so its numbers are
those that it would reach alone but for rounding. A minibatch that is shorter than another client's
is filled up with samples that count nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from understudy.actors.stacks import adam_step, stacked
from understudy.federate.client_tasks import Examples, joined
from understudy.federate.foundations.foundation import Adapter, Foundation, Inputs
from understudy.federate.lesson import Lesson
from understudy.federate.losses import masked


@dataclass(frozen=True, slots=True)
class Batches:
    """A step's minibatches of several clients: every tensor has (clients, samples, ..).

    allowed: (clients, classes); real: (clients, samples), 0 where a sample counts nothing; random:
    each client's own.
    """

    examples: Examples
    allowed: Tensor
    real: Tensor
    random: Sequence[np.random.Generator]

    def mean(self, values: Tensor) -> Tensor:
        """(clients,), over the samples that count. values: (clients, samples)."""
        return (values * self.real).sum(dim=1) / self.real.sum(dim=1)

    def cross_entropy(self, logits: Tensor) -> Tensor:
        """(clients,): of each, among the classes allowed. logits: (clients, samples, classes)."""
        among, label = masked(logits, self.allowed[:, None]), self.examples.label
        losses = nn.functional.cross_entropy(among.flatten(0, 1), label.flatten(), reduction="none")
        return self.mean(losses.view_as(self.real))


class Stacked:
    """Modules of several clients in the place of one client's. weights: (clients, ..) by name."""

    def __init__(self, template: nn.ModuleDict, weights: Mapping[str, Tensor]) -> None:
        self.template, self.weights = template, weights

    @classmethod
    def of(cls, modules: Sequence[nn.ModuleDict]) -> Stacked:
        named = [dict(each.named_parameters()) for each in modules]
        weights = {name: weight.detach() for name, weight in stacked(named).items()}
        return cls(modules[0], weights)

    def first(self, count: int) -> Stacked:
        """The first clients', with gradients; the memory is the same."""
        own = {name: each[:count].detach() for name, each in self.weights.items()}
        trained = dict(self.template.named_parameters())
        for name, each in own.items():
            each.requires_grad_(trained[name].requires_grad)
        return Stacked(self.template, own)

    def __getitem__(self, name: str) -> Callable[[Any], Any]:
        """A module that reads (clients, samples, ..)."""
        module, mark = self.template[name], f"{name}."
        own = {n.removeprefix(mark): w for n, w in self.weights.items() if n.startswith(mark)}
        return lambda given: vmap(lambda w, x: functional_call(module, w, (x,)))(own, given)

    def get_parameter(self, name: str) -> Tensor:
        return self.weights[name]

    def hand_back(self, modules: Sequence[nn.ModuleDict]) -> None:
        with torch.no_grad():
            for row, each in enumerate(modules):
                for name, weight in each.named_parameters():
                    weight.copy_(self.weights[name][row])


class Merged:
    """A foundation that reads (clients, samples, ..) as one batch."""

    def __init__(self, foundation: Foundation) -> None:
        self.foundation = foundation

    def features(self, inputs: Inputs, adapters: Mapping[int, Adapter] | None = None) -> Tensor:
        clients = next(iter(inputs.values())).shape[:2]
        flat = {
            block: Adapter(each.a.flatten(0, 1), each.b.flatten(0, 1), each.scale)
            for block, each in (adapters or {}).items()
        }
        one = {name: each.flatten(0, 1) for name, each in inputs.items()}
        found: Tensor = self.foundation.features(one, flat).unflatten(0, clients)
        return found


def trained(methods: Sequence[Any], lessons: Sequence[Lesson]) -> list[dict[str, float]]:
    """Every client's training of a round, those that are alike as one; the mean of every term."""
    found: list[dict[str, float]] = [{} for _ in methods]
    for places in _alike(methods, lessons):
        some, theirs = [methods[p] for p in places], [lessons[p] for p in places]
        if len(places) == 1:
            terms = [some[0].train(theirs[0])]
        else:
            terms = _trained_as_one(some, theirs)
        for place, each in zip(places, terms, strict=True):
            found[place] = each
    return found


def _alike(methods: Sequence[Any], lessons: Sequence[Lesson]) -> list[list[int]]:
    """Their places, as many of those that are alike together as the settings say."""
    groups: dict[Hashable, list[int]] = {}
    for place, (method, lesson) in enumerate(zip(methods, lessons, strict=True)):
        alike = method.likeness if lesson.local.together > 1 else None
        groups.setdefault(("alone", place) if alike is None else alike, []).append(place)
    size = lessons[0].local.together
    return [each[n : n + size] for each in groups.values() for n in range(0, len(each), size)]


def _trained_as_one(methods: Sequence[Any], lessons: Sequence[Lesson]) -> list[dict[str, float]]:
    parts = [one.own.tasks[lesson.task] for one, lesson in zip(methods, lessons, strict=True)]
    plans = [
        list(lesson.batches(len(task.train))) for task, lesson in zip(parts, lessons, strict=True)
    ]
    # Those with most steps first, so that who still learns is always the first few.
    order = sorted(range(len(methods)), key=lambda place: -len(plans[place]))
    clients, plans = [methods[place] for place in order], [plans[place] for place in order]
    tasks = [parts[place] for place in order]
    mode = clients[0].common.config.masks.train
    allowed = [one.allowed(mode, t.as_trained) for one, t in zip(clients, tasks, strict=True)]
    whole = Stacked.of([one.modules for one in clients])
    rate = lessons[0].learning_rate
    adam = Adam(whole.weights, {name: rate * clients[0].rate(name) for name in whole.weights})
    several = _standing_for(clients)
    found: list[dict[str, list[float]]] = [{} for _ in clients]
    for step in range(len(plans[0])):
        count = sum(len(plan) > step for plan in plans)
        now = [plan[step] for plan in plans[:count]]
        several.modules = whole.first(count)
        terms = several.terms_together(clients[:count], _batches(tasks, allowed, now))
        adam.step(torch.stack(list(terms.values())).sum(dim=0), several.modules.weights)
        for name, values in terms.items():
            for row, value in enumerate(values.tolist()):
                found[row].setdefault(name, []).append(value)
    whole.hand_back([one.modules for one in clients])
    means = [{name: sum(v) / len(v) for name, v in each.items()} for each in found]
    return [means[order.index(place)] for place in range(len(methods))]


def _standing_for(clients: Sequence[Any]) -> Any:
    """A method that stands for several: what it computes has the clients first."""
    several = copy(clients[0])
    common = several.common
    several.common = replace(common, foundation=Merged(common.foundation))
    several.stand_for(clients)
    return several


def _batches(
    tasks: Sequence[Any],
    allowed: Sequence[Tensor],
    now: Sequence[tuple[Tensor, np.random.Generator]],
) -> Batches:
    """A step's minibatches, as long as the longest."""
    longest = max(len(places) for places, _ in now)
    parts, real = [], torch.zeros(len(now), longest)
    for row, (task, (places, _)) in enumerate(zip(tasks, now, strict=False)):
        real[row, : len(places)] = 1.0
        filled = torch.cat([places, places[:1].expand(longest - len(places))])
        parts.append(task.train.rows(filled))
    random = [each for _, each in now]
    return Batches(side_by_side(parts), torch.stack(list(allowed[: len(now)])), real, random)


def side_by_side(parts: Sequence[Examples]) -> Examples:
    """Equally many examples of each client, as (clients, samples, ..)."""
    whole, shape = joined(parts), (len(parts), len(parts[0]))

    def rows(inputs: Inputs) -> Inputs:
        return {name: each.unflatten(0, shape) for name, each in inputs.items()}

    return Examples(rows(whole.inputs), rows(whole.small), whole.label.unflatten(0, shape))


class Adam:
    """Adam as published, for the first few clients: they all have taken equally many steps."""

    def __init__(self, weights: Mapping[str, Tensor], rates: Mapping[str, float]) -> None:
        self.weights, self.rates = weights, rates
        self.first = {name: torch.zeros_like(each) for name, each in weights.items()}
        self.second = {name: torch.zeros_like(each) for name, each in weights.items()}
        self.steps = {name: torch.zeros(()) for name in weights}

    def step(self, losses: Tensor, taken: Mapping[str, Tensor]) -> None:
        """losses: (clients,); taken: the weights that they were computed with, of these clients."""
        names = [name for name, each in taken.items() if each.requires_grad]
        gradients = torch.autograd.grad(
            losses.sum(), [taken[name] for name in names], allow_unused=True
        )
        used = {n: g for n, g in zip(names, gradients, strict=True) if g is not None}
        for name in used:
            self.steps[name] += 1
        for rate in sorted({self.rates[name] for name in used}):
            some = {name: each for name, each in used.items() if self.rates[name] == rate}
            self._moved(some, rate, len(losses))

    def _moved(self, gradients: Mapping[str, Tensor], rate: float, count: int) -> None:
        """One step of weights of one learning rate."""
        adam_step(
            [self.weights[name][:count] for name in gradients],
            [gradient.contiguous() for gradient in gradients.values()],
            (
                [self.first[name][:count] for name in gradients],
                [self.second[name][:count] for name in gradients],
            ),
            [self.steps[name] for name in gradients],
            rate,
        )
