"""A small network of texts: hashed words, so that no vocabulary has to be agreed on or sent."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from understudy.errors import ConfigError
from understudy.federate.foundations.foundation import Inputs
from understudy.federate.small.attention import AttentionBlock
from understudy.federate.small.network import SmallNetwork

WORDS = "words"
_WORD = re.compile(r"\w+|[^\w\s]")
_PAD = 0


class Words(SmallNetwork):
    """Embeddings of a text's first words, what is beside each read with it, their mean and maximum.

    buckets: numbers that words are hashed to; longest: words that are read; reads: by a convolution
    over three words, or by attention over all.
    """

    stacks = True

    def __init__(
        self,
        raw: Any,
        width: int = 64,
        buckets: int = 4096,
        longest: int = 40,
        reads: Literal["convolution", "attention"] = "convolution",
        heads: int = 4,
    ) -> None:
        super().__init__()
        _check_texts(raw)
        if min(width, buckets, longest) < 1 or reads not in ("convolution", "attention"):
            raise ConfigError(
                f"small=words: width={width}, buckets={buckets} and longest={longest} must be at "
                f"least 1, and reads={reads} convolution or attention"
            )
        self.width, self.buckets, self.longest = width, buckets, longest
        self.embedding = nn.Embedding(buckets + 1, width)
        self.convolution = nn.Conv1d(width, width, 3, padding=1) if reads == "convolution" else None
        self.attention = AttentionBlock(width, heads) if reads == "attention" else None
        self.out = nn.Linear(2 * width, width)

    def prepare(self, raw: Any) -> Inputs:
        _check_texts(raw)
        ids = torch.full((len(raw), self.longest), _PAD)
        for row, text in enumerate(raw):
            words = hashed(text, self.buckets)[: self.longest]
            ids[row, : len(words)] = torch.tensor(words)
        return {WORDS: ids}

    def forward(self, inputs: Inputs) -> Tensor:
        ids = inputs[WORDS]
        real = ids != _PAD
        h = self.embedding(ids) * real[..., None]
        if self.convolution is not None:
            h = h + F.gelu(self.convolution(h.mT)).mT
        if self.attention is not None:
            h = self.attention(h, real)
        h = h * real[..., None]
        mean = h.sum(dim=1) / real.sum(dim=1, keepdim=True)
        most = h.masked_fill(~real[..., None], -1e4).amax(dim=1)
        return self.out(torch.cat([mean, most], dim=1))


def hashed(text: str, buckets: int) -> list[int]:
    """A text's words and signs as numbers from 1 to `buckets`; without any, one number for that."""
    words = _WORD.findall(text.lower()) or [""]
    return [zlib.crc32(word.encode()) % buckets + 1 for word in words]


def _check_texts(raw: Any) -> None:
    texts = isinstance(raw, Sequence) and not isinstance(raw, str)
    if not texts or not all(isinstance(text, str) for text in raw):
        raise ConfigError(
            f"small=words reads texts, not {type(raw).__name__}; for pictures, set small to "
            "residual, depthwise or transformer"
        )
