"""Small networks of different kinds, as the setting `small` takes them."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from understudy.federate.foundations.foundation import Inputs
from understudy.federate.small.network import SmallNetwork
from understudy.federate.small.words import WORDS, Words


def attention(raw: Any, width: int = 64) -> Words:
    """Hashed words that are read by attention over all."""
    return Words(raw, width=width, reads="attention")


class Bag(SmallNetwork):
    """The mean of hashed words, whatever their order, through one hidden layer."""

    def __init__(self, raw: Any, width: int = 64) -> None:
        super().__init__()
        self.words = Words(raw, width=width)
        self.width = width
        self.words.convolution = None
        self.hidden = nn.Sequential(nn.GELU(), nn.Linear(width, width))

    def prepare(self, raw: Any) -> Inputs:
        return self.words.prepare(raw)

    def forward(self, inputs: Inputs) -> Tensor:
        found: Tensor = self.hidden(self.words({WORDS: inputs[WORDS]}))
        return found


def bag(raw: Any, width: int = 64) -> Bag:
    return Bag(raw, width)
