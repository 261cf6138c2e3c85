"""What a client holds: a sequence of tasks, each with samples to train on and others to test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from understudy.federate.foundations.foundation import Inputs


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """raw: pictures (n, 3, h, w) in [0, 1], or a sequence of n texts; label: (n,), class numbers of
    the whole set."""

    raw: Any
    label: Tensor

    def __len__(self) -> int:
        return len(self.label)


@dataclass(frozen=True, slots=True, eq=False)
class ClientTask:
    """One task of a client: to tell these classes of the whole set apart."""

    number: int
    classes: tuple[int, ...]
    train: Samples
    test: Samples


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Samples as the foundation and the client's small network prepared them."""

    inputs: Inputs
    small: Inputs  # empty, where the method has no small network
    label: Tensor

    def __len__(self) -> int:
        return len(self.label)

    def rows(self, places: Tensor | slice) -> Examples:
        def some(inputs: Inputs) -> Inputs:
            return {name: tensor[places] for name, tensor in inputs.items()}

        return Examples(some(self.inputs), some(self.small), self.label[places])


def joined(parts: Sequence[Examples]) -> Examples:
    """Examples of several tasks as one, in their order."""

    def whole(inputs: Sequence[Inputs]) -> Inputs:
        return {name: _joined([each[name] for each in inputs]) for name in inputs[0]}

    return Examples(
        whole([part.inputs for part in parts]),
        whole([part.small for part in parts]),
        torch.cat([part.label for part in parts]),
    )


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    """Texts of different tasks are of different lengths: the shorter ones get zeros, which their
    mask leaves out."""
    if len({tensor.shape[1:] for tensor in tensors}) == 1:
        return torch.cat(list(tensors))
    longest = max(tensor.shape[1] for tensor in tensors)
    return torch.cat([_lengthened(tensor, longest) for tensor in tensors])


def _lengthened(tensor: Tensor, length: int) -> Tensor:
    padding = [0, 0] * (tensor.dim() - 2) + [0, length - tensor.shape[1]]
    return F.pad(tensor, padding)


@dataclass(frozen=True, slots=True, eq=False)
class PreparedTask:
    """learnt: the classes of its training samples, where they are others than the task's."""

    number: int
    classes: tuple[int, ...]
    train: Examples
    test: Examples
    learnt: tuple[int, ...] | None = None

    @property
    def as_trained(self) -> PreparedTask:
        """The task as it is while it is trained on."""
        return self if self.learnt is None else replace(self, classes=self.learnt)
