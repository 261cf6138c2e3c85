"""Any causal language model of transformers, behind the calls that the loop makes."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from understudy.errors import CheckpointError
from understudy.models import adapters
from understudy.models.branches import packed
from understudy.models.request import ends
from understudy.models.sampling import (
    TOKENS_AT_ONCE,
    Completions,
    Drawing,
    Prompts,
    Stops,
    Written,
    draw,
)

_COMPACT_BELOW = 0.8  # rows leave the batch once so few would be left
_LOGITS = 1 << 27  # held at once where a model's own logits are needed: 512 MB in float32


class TransformersModel(nn.Module):
    """A model whose logits are its head's product with the final states, or all its own making."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model.eval()
        self.plain_head = _has_plain_head(model)
        accepted = inspect.signature(model.base_model.forward).parameters
        self.takes_positions = "position_ids" in accepted
        self.vocabulary: int = ends(model)[1].weight.shape[0]

    @property
    def longest(self) -> int:
        """Positions that it was made for; without end where its configuration names none."""
        named = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        return int(named or sys.maxsize)

    def recompute(self) -> None:
        """In training, compute each block again rather than keep it."""
        self.model.gradient_checkpointing_enable({"use_reentrant": False})

    def run(self, ids: Tensor, mask: Tensor, **given: Any) -> Any:
        """The model without its head. mask: (rows, positions seen); ids: the last of them."""
        if self.takes_positions:
            positions = (mask.long().cumsum(dim=1) - 1).clamp(min=0)
            given["position_ids"] = positions[:, -ids.shape[1] :]
        return self.model.base_model(input_ids=ids, attention_mask=mask.long(), **given)

    @torch.no_grad()
    def sample(
        self,
        prompts: Prompts,
        group: int,
        stops: Stops,
        drawing: Drawing,
        uniforms: Tensor | None = None,
    ) -> Completions:
        """As `sampling.sample`; each row has a cache of its own, its prompt's included."""
        session = _Caching(self, prompts, group)
        tokens = prompts.ids[:, -1].repeat_interleave(group)
        return draw(session, tokens, stops, drawing, uniforms)

    def parts(
        self,
        prompts: Prompts,
        completions: Completions | Written,
        rows: Tensor,
        tokens_at_once: int = TOKENS_AT_ONCE,
    ) -> Iterator[Part]:
        """The rows named, those of similar length together."""
        texts = _texts(prompts, completions, rows)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i][0]))
        if not self.plain_head:
            tokens_at_once = min(tokens_at_once, _LOGITS // self.vocabulary)
        for start, stop in packed([len(texts[i][0]) for i in order], tokens_at_once):
            some = order[start:stop]
            yield Part([texts[i] for i in some], some, prompts.ids.device)

    def states(self, part: Part) -> Tensor:
        """Final states (tokens, hidden size) where tokens are foretold."""
        with self._learning():
            hidden: Tensor = self.run(part.ids, part.mask, use_cache=False).last_hidden_state
        return hidden.flatten(0, 1).index_select(0, part.reads)

    def logits_at(self, part: Part) -> Tensor:
        """The model's own logits (tokens, vocabulary) where tokens are foretold, in float32."""
        with self._learning():
            found = self.model(part.ids, attention_mask=part.mask.long(), use_cache=False)
        read: Tensor = found.logits.flatten(0, 1).index_select(0, part.reads).float()
        return read

    @contextmanager
    def _learning(self) -> Iterator[None]:
        """In training mode where a gradient is wanted: nothing is dropped, but transformers
        computes blocks again in that mode only."""
        self.model.train(torch.is_grad_enabled())
        try:
            yield
        finally:
            self.model.eval()


class _Caching:
    """A model in the midst of drawing, with transformers' own cache."""

    def __init__(self, owner: TransformersModel, prompts: Prompts, group: int) -> None:
        from transformers import DynamicCache

        self.owner, self.vocabulary = owner, owner.vocabulary
        self.cache = DynamicCache(config=owner.model.config)
        ids, mask = prompts.ids[:, :-1], prompts.mask[:, :-1]
        if ids.shape[1]:
            owner.run(ids, mask, past_key_values=self.cache, use_cache=True)
            self.cache.batch_repeat_interleave(group)
        self.mask = mask.repeat_interleave(group, dim=0)

    def read(self, tokens: Tensor) -> Tensor:
        self.mask = torch.cat((self.mask, self.mask.new_ones(len(self.mask), 1)), dim=1)
        given = {"past_key_values": self.cache, "use_cache": True}
        if self.owner.plain_head:
            states: Tensor = self.owner.run(tokens[:, None], self.mask, **given).last_hidden_state
            return states[:, -1]
        if self.owner.takes_positions:
            given["position_ids"] = self.mask.long().sum(dim=1, keepdim=True) - 1
        found = self.owner.model(tokens[:, None], attention_mask=self.mask.long(), **given)
        logits: Tensor = found.logits[:, -1]
        return logits

    def logits(self, states: Tensor) -> Tensor:
        if not self.owner.plain_head:
            return states
        logits: Tensor = ends(self.owner.model)[1](states)
        return logits

    def keep(self, going: Tensor) -> Tensor | None:
        kept = going.nonzero().squeeze(1)
        if len(kept) >= _COMPACT_BELOW * len(going):
            return None
        self.cache.batch_select_indices(kept)
        self.mask = self.mask[kept]
        return kept


class Part:
    """Right-padded texts, and where in them each completion's tokens are foretold."""

    def __init__(
        self, texts: list[tuple[list[int], int]], rows: list[int], device: torch.device
    ) -> None:
        width = max(len(text) for text, _ in texts) - 1  # the last token is foretold, never read
        ids = torch.zeros(len(texts), width, dtype=torch.long)
        mask = torch.zeros(len(texts), width, dtype=torch.bool)
        reads: list[int] = []
        owners: list[int] = []
        columns: list[int] = []
        taken: list[int] = []
        for i, (text, start) in enumerate(texts):
            ids[i, : len(text) - 1] = torch.tensor(text[:-1])
            mask[i, : len(text) - 1] = True
            count = len(text) - start
            reads += range(i * width + start - 1, i * width + start - 1 + count)
            owners += [rows[i]] * count
            columns += range(count)
            taken += text[start:]
        self.ids, self.mask = ids.to(device), mask.to(device)
        self.reads, self.rows, self.columns, self.taken = (
            torch.tensor(values, device=device) for values in (reads, owners, columns, taken)
        )


def _texts(
    prompts: Prompts, completions: Completions | Written, rows: Tensor
) -> list[tuple[list[int], int]]:
    """The rows named, each prompt and completion in one piece, and where the latter begins."""
    group = len(completions.tokens) // len(prompts.ids)
    texts = []
    for row in rows.tolist():
        prompt = prompts.ids[row // group][prompts.mask[row // group]].tolist()
        completion = completions.tokens[row][completions.mask[row]].tolist()
        texts.append((prompt + completion, len(prompt)))
    return texts


def load_transformers_model(folder: Path, device: str, dtype: torch.dtype) -> TransformersModel:
    """Read a checkpoint through AutoModelForCausalLM, its dropout switched off."""
    try:
        from transformers import AutoConfig, AutoModelForCausalLM
    except ImportError as error:
        raise CheckpointError(
            f"{folder}: this model needs transformers; pip install 'understudy[models]'"
        ) from error
    try:
        config = AutoConfig.from_pretrained(folder)
        for name, value in config.to_dict().items():
            # Log-probabilities in training must be those under which a response was drawn.
            if isinstance(value, float) and ("dropout" in name or name.endswith("pdrop")):
                setattr(config, name, 0.0)
        model = AutoModelForCausalLM.from_pretrained(folder, config=config, dtype=dtype)
    except (OSError, ValueError, RuntimeError, ImportError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{folder}: transformers cannot load it ({reason[:300]})") from error
    return TransformersModel(model.to(device))


@torch.no_grad()
def _has_plain_head(model: Any) -> bool:
    """Whether the logits are the head's product with the final states: no soft cap, no scale."""
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear):
        raise CheckpointError(f"{type(model).__name__} has no linear head; another model is needed")
    if head.bias is not None:
        return False
    ids = torch.arange(1, 6, device=head.weight.device)[None] % head.weight.shape[0]
    logits = model(ids, use_cache=False).logits
    hidden = model.base_model(ids, use_cache=False).last_hidden_state
    if hidden.shape[-1] != head.weight.shape[1]:
        return False
    difference = (head(hidden).float() - logits.float()).abs().max()
    return bool(difference <= 1e-4 * logits.float().abs().max().clamp(min=1.0))


def save_transformers_model(owner: TransformersModel, folder: Path, adapted: bool = True) -> None:
    """Write a checkpoint that transformers loads: adapters are folded in, or left out."""
    folder.mkdir(parents=True, exist_ok=True)
    owner.model.save_pretrained(folder, state_dict=adapters.merged_state(owner.model, adapted))
