"""What one agent has learnt: its modules, its decoders, its structures, its optimiser."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from understudy.actors.generators import generator_of
from understudy.actors.records import registered
from understudy.share.nets.stacked import ABSENT, NetShape
from understudy.share.tick import INITIAL_TASKS

_INITIAL, _STRUCTURES, _CANDIDATE, _DECODERS = 1, 2, 3, 4  # what a draw is for


@registered
@dataclass(slots=True)
class Learner:
    """weights by name, without a dimension for rows:

    modules.* (m, ..): every weight of a module, as modules.weight; the first `modules` are in use;
    candidate.* (1, ..): the same of one more, while a task tries it out;
    decoders.weight (tasks, classes, features), decoders.bias (tasks, classes);
    structure (tasks, m + 1, layers): logits; the last column is the candidate's.
    """

    shape: NetShape
    weights: dict[str, Tensor]
    modules: int
    moments: dict[str, tuple[Tensor, Tensor, Tensor]] = field(default_factory=dict)  # Adam's

    @property
    def first(self) -> int:
        """The modules that it began with."""
        return INITIAL_TASKS if self.shape.modular else self.shape.layers

    def named(self, kind: str) -> list[str]:
        """The names of its weights of a kind: modules, candidate or decoders."""
        return [name for name in self.weights if name.startswith(f"{kind}.")]

    def new_task(self) -> None:
        """Each task begins with an optimiser of its own."""
        self.moments.clear()


def new_learner(shape: NetShape, seed: int, own: int | None = None) -> Learner:
    """A learner before any training: modules and structures by the seed, decoders by its own.

    Decoders that begin alike would pull modules that are shared along the same directions, where
    agents whose labels are opposed work against each other.
    """
    generator = _generator(seed, _INITIAL)
    first = INITIAL_TASKS if shape.modular else shape.layers  # modules
    room = first + (max(0, shape.tasks - INITIAL_TASKS) if shape.modular else 0)
    modules = _modules(shape, room, generator)
    bound, generator = shape.features**-0.5, _generator(seed if own is None else own, _DECODERS)
    decoders = _uniform((shape.tasks, shape.classes, shape.features), bound, generator)
    weights = {f"modules.{name}": weight for name, weight in modules.items()} | {
        "decoders.weight": decoders,
        "decoders.bias": _uniform((shape.tasks, shape.classes), bound, generator),
    }
    if shape.modular:
        weights["structure"] = _structures(shape, room, seed)
    return Learner(shape, weights, first)


def add_candidate(learner: Learner, task: int, seed: int) -> None:
    """A module beside those in use, and a structure that starts with equal shares of all."""
    found = _modules(learner.shape, 1, _generator(seed, _CANDIDATE, task))
    learner.weights |= {f"candidate.{name}": weight for name, weight in found.items()}
    structure = learner.weights["structure"]
    structure[task] = ABSENT
    structure[task, : learner.modules] = 0.0
    structure[task, -1] = 0.0


def keep_candidate(learner: Learner, task: int) -> None:
    """The candidate becomes a module, with the share that the task gave it."""
    place, weights = learner.modules, learner.weights
    for name in learner.shape.module:
        weights[f"modules.{name}"][place] = weights.pop(f"candidate.{name}")[0]
    structure = weights["structure"]
    structure[task, place] = structure[task, -1]
    structure[task, -1] = ABSENT
    learner.modules += 1


def drop_candidate(learner: Learner, task: int) -> None:
    """The candidate is forgotten: the task does without it."""
    for name in learner.named("candidate"):
        del learner.weights[name]
    learner.weights["structure"][task, -1] = ABSENT


def _generator(seed: int, *purpose: int) -> torch.Generator:
    return torch.Generator().manual_seed(int(generator_of(seed, *purpose).integers(2**62)))


def _modules(shape: NetShape, count: int, generator: torch.Generator) -> dict[str, Tensor]:
    """As torch begins its layers: uniform within 1 / sqrt(inputs); a user's net begins its own."""
    if shape.own is not None:
        seeds = torch.randint(2**62, (count,), generator=generator).tolist()
        found = [shape.own.new_weights(seed) for seed in seeds]
        return {name: torch.stack([each[name] for each in found]) for name in shape.module}
    bound = torch.Size(shape.module["weight"][1:]).numel() ** -0.5
    return {name: _uniform((count, *size), bound, generator) for name, size in shape.module.items()}


def _uniform(size: tuple[int, ...], bound: float, generator: torch.Generator) -> Tensor:
    return torch.empty(size).uniform_(-bound, bound, generator=generator)


def _structures(shape: NetShape, room: int, seed: int) -> Tensor:
    """The first tasks choose one module for each layer, once and for all; every module is chosen
    by some task. The later ones begin with their candidate."""
    structure = torch.full((shape.tasks, room + 1, shape.layers), ABSENT)
    random = generator_of(seed, _STRUCTURES)
    first = min(INITIAL_TASKS, shape.tasks)
    for layer in range(shape.layers):
        chosen = random.permutation(INITIAL_TASKS)[:first]
        structure[range(first), chosen, layer] = 0.0
    return structure
