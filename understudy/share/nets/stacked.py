"""Small networks of many agents computed together: every tensor has the agents ("rows") first.

A network is a frozen entrance, `layers` layers made of modules, and a linear decoder per task.
Monolithic: layer k is module k. Modular (soft ordering, arXiv:1711.00108): every layer is a
mixture of all modules, h <- sum_m softmax_m(structure[task])[m, layer] * drop(relu(f_m(h))).
In a network of the user's own (share/nets/own.py) its modules stand in the place of relu(f_m).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from understudy.actors.records import registered
from understudy.errors import ConfigError
from understudy.share.nets.mixed_layer import mixed_layer
from understudy.share.nets.own import Own

LAYERS = 4  # of the nets that are built in
ABSENT = -1e9  # the structure's logit of a module that a task does not use


@registered
@dataclass(frozen=True, slots=True)
class NetShape:
    """What rows that are computed together have in common."""

    kind: str  # mlp, cnn, or own
    instance: tuple[int, ...]  # shape of one input
    tasks: int
    classes: int  # per task
    modular: bool
    layers: int = LAYERS
    width: int = 64  # hidden units, or channels
    dropout: float = 0.5
    own: Own | None = None  # the user's, of kind own

    def __post_init__(self) -> None:
        if self.kind == "cnn":
            if len(self.image) != 3 or self.image[0] > self.width:
                raise ConfigError(
                    f"net=cnn: an instance is channels x height x width with at most {self.width} "
                    f"channels, not {'x'.join(map(str, self.instance))}"
                )
            if min(self.image[1:]) < 2**self.layers:
                raise ConfigError(
                    f"net=cnn: {self.layers} layers halve {self.image[1]}x{self.image[2]} to "
                    "nothing; give larger pictures, or net=mlp"
                )

    @property
    def image(self) -> tuple[int, ...]:
        """channels x height x width, where an instance is that or has no channels."""
        return (1, *self.instance) if len(self.instance) == 2 else self.instance

    @property
    def module(self) -> dict[str, tuple[int, ...]]:
        """The shapes of one module's weights, by name."""
        if self.own is not None:
            return self.own.weights
        kernel = (3, 3) if self.kind == "cnn" else ()
        return {"weight": (self.width, self.width, *kernel), "bias": (self.width,)}

    @property
    def features(self) -> int:
        """What a decoder sees of an instance."""
        if self.own is not None:
            return self.own.features
        if self.kind == "mlp":
            return self.width
        return self.width * math.prod(side // 2**self.layers for side in self.image[1:])


@dataclass(frozen=True, slots=True)
class Group:
    """Modules that are computed at once: weights by name, (rows, n, ..).

    mix: (rows, samples, n, layers), their shares in each layer; None: layer k is module k.
    """

    weights: Mapping[str, Tensor]
    mix: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """What dropout leaves: for each layer which units, (rows, samples, modules, out, ..) over all
    groups in their order, and the factor by which these grow."""

    units: Sequence[Tensor]
    scale: float


def entrance(shape: NetShape, x: Tensor, seed: int) -> Tensor:
    """Instances (n, ..) as the first layer takes them; frozen, and alike for all agents of a seed.

    mlp: a random linear map to `width`; cnn: as they are, for channels of zeros up to `width` are
    added where they are computed: kept, they would take many times the room.
    """
    if shape.own is not None:
        return shape.own.entrance(x)
    x = x.float()
    if shape.kind == "cnn":
        x = x.reshape(len(x), *shape.image)
        return x
    with torch.no_grad():
        return _random_map(math.prod(shape.instance), shape.width, seed)(x.flatten(1))


@lru_cache(maxsize=64)  # agents of a seed pass instances through it at every round
def _random_map(inputs: int, width: int, seed: int) -> torch.nn.Linear:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return torch.nn.Linear(inputs, width)


def body(shape: NetShape, groups: Sequence[Group], h: Tensor, kept: Kept | None = None) -> Tensor:
    """Features (rows, samples, features) of h (rows, samples, ..), as `entrance` gives it.

    Monolithic: one group of `layers` modules without mix.
    """
    if shape.kind == "cnn":
        h = F.pad(h, (0, 0, 0, 0, 0, shape.width - h.shape[2]))
    alone = {}
    if groups[0].mix is None:  # monolithic
        alone = {name: weight.split(1, dim=1) for name, weight in groups[0].weights.items()}
    for layer in range(shape.layers):
        base, given = (None, h) if shape.own is None else shape.own.before(layer, h)
        total, first = None, 0
        for group in groups:
            weights, share = group.weights, torch.ones(1, 1, 1)
            if group.mix is None:  # this layer's module alone
                weights = {name: each[layer] for name, each in alone.items()}
            else:
                share = group.mix[..., layer]
            left = None
            if kept is not None:
                count = next(iter(weights.values())).shape[1]
                left, share = kept.units[layer][:, :, first : first + count], share * kept.scale
                first += count
            y = _shared(shape, weights, given, share, left)
            total = y if total is None else total + y
        assert total is not None
        h = total if base is None else base + total
    return h.flatten(2) if shape.own is None else shape.own.features_of(h)


def kept_shape(shape: NetShape, layer: int, samples: int, modules: int) -> tuple[int, ...]:
    """Of one row's dropout factors in a layer."""
    if shape.own is not None:
        return (samples, modules, *shape.own.inputs[layer])
    sides = () if shape.kind == "mlp" else tuple(s // 2 ** (layer + 1) for s in shape.image[1:])
    return (samples, modules, shape.width, *sides)


def decoded(features: Tensor, task: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Logits (rows, samples, classes), each sample by the decoder of its own task.

    features: (rows, samples, f); task: (rows, samples); weight: (rows, tasks, classes, f).
    """
    rows, tasks, classes, _ = weight.shape
    every = torch.baddbmm(bias.flatten(1)[:, None], features, weight.flatten(1, 2).mT)
    every = every.view(rows, -1, tasks, classes)
    wanted = task[..., None, None].expand(-1, -1, 1, classes)
    return every.gather(2, wanted).squeeze(2)


def mixture(structure: Tensor, task: Tensor) -> Tensor:
    """(rows, samples, modules, layers): each sample's mixture. structure: (rows, tasks, modules,
    layers), logits."""
    shares = structure.softmax(dim=2)
    wanted = task[..., None, None].expand(-1, -1, *shares.shape[2:])
    return shares.gather(1, wanted)


def _shared(
    shape: NetShape, weights: Mapping[str, Tensor], h: Tensor, share: Tensor, left: Tensor | None
) -> Tensor:
    """(rows, samples, out, ..): what modules give with the units left, by their shares."""
    if shape.kind == "mlp":
        share = share.expand(*h.shape[:2], -1)
        return mixed_layer(h, weights["weight"], weights["bias"], share, left)
    y = _applied(shape, weights, h)
    if left is not None:
        y = y * left
    return (y * share.view(*share.shape, *[1] * (y.dim() - 3))).sum(dim=2)


def _applied(shape: NetShape, weights: Mapping[str, Tensor], h: Tensor) -> Tensor:
    """relu(f_m(h)) of n modules that are not mlp's: (rows, samples, n, out, ..)."""
    if shape.own is not None:
        return shape.own.applied(weights, h)
    weight, bias = weights["weight"], weights["bias"]
    rows, count, out = weight.shape[:3]
    samples = h.shape[1]
    images = h.transpose(0, 1).flatten(1, 2)
    y = F.conv2d(images, weight.flatten(0, 2), bias.flatten(), padding=1, groups=rows)
    y = F.max_pool2d(y, 2).relu()
    return y.view(samples, rows, count, out, *y.shape[2:]).transpose(0, 1)
