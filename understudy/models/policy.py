"""The local model as the loop sees it: text in, completions out, log-probabilities back."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from understudy.models.checkpoint import load_decoder, resolve
from understudy.models.decoder import Decoder
from understudy.models.sampling import Completions, Drawing, Prompts, Stops, Written, sample, score
from understudy.models.tokens import END, Tokens


@dataclass(frozen=True, slots=True)
class Policy:
    """A decoder, its tokenizer, and where and how precisely it computes."""

    decoder: Decoder
    tokens: Tokens
    folder: Path
    device: str = "cpu"
    bf16: bool = False

    @classmethod
    def load(cls, model: str, device: str = "cpu", bf16: bool = False) -> Policy:
        folder = resolve(model)
        return cls(load_decoder(folder).to(device), Tokens(folder), folder, device, bf16)

    @property
    def stops(self) -> Stops:
        return Stops(self.tokens.end, self.tokens.ask)

    def prompts(self, texts: Sequence[str]) -> Prompts:
        ids, mask = self.tokens.encode_prompts(texts)
        return Prompts(ids.to(self.device), mask.to(self.device))

    def written(self, texts: Sequence[str]) -> Written:
        """Given texts as completions that end."""
        ids, mask = self.tokens.encode_completions([text + END for text in texts])
        return Written(ids.to(self.device), mask.to(self.device))

    def sample(
        self,
        prompts: Prompts,
        group: int,
        drawing: Drawing,
        generator: torch.Generator | None = None,
    ) -> Completions:
        with self._precision():
            return sample(self.decoder, prompts, group, self.stops, drawing, generator)

    def score(
        self, prompts: Prompts, completions: Completions | Written, rows: Tensor, drawing: Drawing
    ) -> tuple[Tensor, Tensor]:
        with self._precision():
            return score(self.decoder, prompts, completions, rows, self.tokens.ask, drawing)

    def texts(self, completions: Completions) -> list[str]:
        tokens, lengths = completions.tokens.tolist(), completions.mask.sum(dim=1).tolist()
        rows = zip(tokens, lengths, strict=True)
        return [self.tokens.decode(row[:length]) for row, length in rows]

    def _precision(self) -> AbstractContextManager[object]:
        kind = torch.device(self.device).type
        return torch.autocast(kind, torch.bfloat16) if self.bf16 else nullcontext()
