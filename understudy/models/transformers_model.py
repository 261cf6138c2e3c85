"""Any causal language model of transformers, behind the calls that the loop makes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from understudy.errors import CheckpointError
from understudy.models import adapters, sampling
from understudy.models.branches import packed
from understudy.models.local_model import Part
from understudy.models.prefix import worthwhile_prefix
from understudy.models.sampling import (
    TOKENS_AT_ONCE,
    Completions,
    Drawing,
    Prompts,
    Stops,
    Written,
    draw,
)
from understudy.models.transformers_network import TransformersNetwork
from understudy.models.transformers_session import TransformersSession, check_parts

_LOGITS = 1 << 27  # held at once where a model's own logits are needed: 512 MB in float32


class TransformersModel(TransformersNetwork):
    """Draws and scores with any causal language model of transformers."""

    reads_prompts_once = False  # what is shared is computed once, but kept with every row
    recomputes = False  # blocks, in training

    @torch.no_grad()
    def sample(
        self,
        prompts: Prompts,
        group: int,
        stops: Stops,
        drawing: Drawing,
        uniforms: Tensor | None = None,
    ) -> Completions:
        """Each row has a cache of its own, its prompt's included."""
        decoding = CachedDecoding(self, prompts, group)
        tokens = prompts.ids[:, -1].repeat_interleave(group)
        return draw(decoding, tokens, stops, drawing, uniforms)

    def parts(
        self,
        prompts: Prompts,
        completions: Completions | Written,
        rows: Tensor,
        tokens_at_once: int = TOKENS_AT_ONCE,
    ) -> Iterator[Part]:
        prefix = self._prefix(prompts, rows // (len(completions.tokens) // len(prompts.ids)))
        texts = _texts(prompts, completions, rows, prefix.count)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i][0]))
        if not self.plain_head:
            tokens_at_once = min(tokens_at_once, _LOGITS // self.vocabulary)
        lengths = [prefix.count + len(texts[i][0]) for i in order]
        for start, stop in packed(lengths, tokens_at_once):
            some = order[start:stop]
            batch = _Texts([texts[i] for i in some], some, prompts.ids.device)
            states = partial(self._states, batch, prefix)
            logits = None if self.plain_head else partial(self._own_logits, batch, prefix)
            yield Part(batch.taken, batch.rows, batch.columns, states, logits)

    def open(self, first: int = 0, last: int | None = None) -> TransformersSession:
        last = self.blocks if last is None else last
        if (first, last) != (0, self.blocks):
            check_parts(self)
        return TransformersSession(self, first, last)

    @property
    def projections(self) -> Sequence[str]:
        kinds = ("Linear", "Conv1D")  # the latter is GPT-2's
        found = {
            name.rpartition(".")[2]
            for name, module in self.network.named_modules()
            if type(module).__name__ in kinds and module is not self.head
        }
        return sorted(found)

    def separate(self) -> None:
        """They are apart."""

    def set_head(self, head: nn.Linear) -> None:
        self.network.set_output_embeddings(head)

    def transformers_name(self, name: str) -> str:
        return name

    def recompute(self) -> None:
        self.recomputes = True
        self.network.gradient_checkpointing_enable({"use_reentrant": False})

    def resize(self, count: int) -> None:
        self.network.resize_token_embeddings(count, mean_resizing=False)

    def save(self, folder: Path, source: Path, adapted: bool) -> None:
        """Write what transformers itself writes; nothing is taken from the source."""
        folder.mkdir(parents=True, exist_ok=True)
        state = adapters.merged_state(self.network, adapted)
        self.network.save_pretrained(folder, state_dict=state)

    def _prefix(self, prompts: Prompts, owners: Tensor) -> CachedPrefix:
        """What the prompts named begin with, where computing it once pays and is possible."""
        used = owners.unique().to(prompts.ids.device)
        count = worthwhile_prefix(prompts.ids[used], prompts.mask[used])
        if torch.is_grad_enabled() and self.recomputes:
            count = 0  # transformers fills no cache then
        if not count or not keeps_every_key(self.network.config):
            return CachedPrefix(self, prompts.ids.new_empty(0))
        first = int(used[0])
        return CachedPrefix(self, prompts.ids[first][prompts.mask[first]][:count])

    def _states(self, batch: _Texts, prefix: CachedPrefix) -> Tensor:
        """Final states (tokens, hidden size) that predict the tokens, where the head is plain."""
        with self._learning():
            hidden = self.run(batch.ids, prefix.beside(batch.mask), **prefix.before(len(batch.ids)))
        return hidden.flatten(0, 1).index_select(0, batch.reads)

    def _own_logits(self, batch: _Texts, prefix: CachedPrefix) -> Tensor:
        """The model's own logits (tokens, vocabulary) that predict the tokens, in float32."""
        mask = prefix.beside(batch.mask).long()
        with self._learning():
            before = prefix.before(len(batch.ids))
            found = self.network(batch.ids, attention_mask=mask, **before)
        read: Tensor = found.logits.flatten(0, 1).index_select(0, batch.reads).float()
        return read

    @contextmanager
    def _learning(self) -> Iterator[None]:
        """In training mode where a gradient is wanted: nothing is dropped, but transformers
        computes blocks again in that mode only."""
        self.network.train(torch.is_grad_enabled())
        try:
            yield
        finally:
            self.network.eval()


class CachedPrefix:
    """Tokens that texts begin with, in a cache whose keys and values keep their gradient."""

    def __init__(self, owner: TransformersModel, tokens: Tensor) -> None:
        self.owner, self.count = owner, len(tokens)
        self.read: list[tuple[Tensor, Tensor]] = []
        if self.count:
            cache, ids = _cache(owner.network.config), tokens[None]
            owner.run(ids, ids >= 0, past_key_values=cache, use_cache=True)
            self.read = [(layer.keys, layer.values) for layer in cache.layers]

    def beside(self, mask: Tensor) -> Tensor:
        """A mask (rows, positions) with the prefix's positions before it."""
        return torch.cat((mask.new_ones(len(mask), self.count), mask), dim=1)

    def before(self, rows: int) -> dict[str, Any]:
        """What the network is given so that so many rows follow the prefix."""
        if not self.count:
            return {"use_cache": False}
        cache = _cache(self.owner.network.config)
        for layer, (keys, values) in zip(cache.layers, self.read, strict=True):
            layer.lazy_initialization(keys, values)
            layer.keys, layer.values = (
                kept.expand(rows, *kept.shape[1:]) for kept in (keys, values)
            )
        return {"past_key_values": cache, "use_cache": True}


def _cache(config: Any) -> Any:
    from transformers import DynamicCache

    return DynamicCache(config=config)


def keeps_every_key(config: Any) -> bool:
    """Whether a model's cache is the keys and values of all positions, in every block.

    Only then may others read them, and rows have padding between their tokens: not where a layer
    counts the positions that it looks back, nor where it keeps a state in place of them.
    """
    from transformers.cache_utils import DynamicLayer

    layers = _cache(config).layers
    shared = getattr(config.get_text_config(), "num_kv_shared_layers", 0)
    return bool(layers) and not shared and all(type(layer) is DynamicLayer for layer in layers)


class CachedDecoding:
    """Rows that began together, with transformers' own cache."""

    def __init__(self, owner: TransformersModel, prompts: Prompts, group: int) -> None:
        self.owner, self.vocabulary = owner, owner.vocabulary
        ids, mask = prompts.ids[:, :-1], prompts.mask[:, :-1]
        self.cache = _cache(owner.network.config)
        if ids.shape[1]:
            mask = self._encode(ids, mask, worthwhile_prefix(ids, mask))
            self.cache.batch_repeat_interleave(group)
        self.mask = mask.repeat_interleave(group, dim=0)

    def _encode(self, ids: Tensor, mask: Tensor, shared: int) -> Tensor:
        """Read prompts, what they share once, where their rests may be padded in the middle; then
        what is padding."""
        run, owner = {"past_key_values": self.cache, "use_cache": True}, self.owner
        if shared and owner.takes_positions and keeps_every_key(owner.network.config):
            begins = int(mask[0].long().argmax())
            stem = ids[:1, begins : begins + shared]
            owner.run(stem, torch.ones_like(stem, dtype=torch.bool), **run)
            self.cache.batch_repeat_interleave(len(ids))
            rest = mask & (mask.cumsum(dim=1) > shared)
            width = int(rest.sum(dim=1).max())
            ids, mask = ids[:, -width:], F.pad(rest[:, -width:], (shared, 0), value=True)
        owner.run(ids, mask, **run)
        return mask

    def read(self, tokens: Tensor) -> Tensor:
        self.mask = torch.cat((self.mask, self.mask.new_ones(len(self.mask), 1)), dim=1)
        given = {"past_key_values": self.cache, "use_cache": True}
        return self.owner.run(tokens[:, None], self.mask, **given)[:, -1]

    def logits(self, states: Tensor) -> Tensor:
        return self.owner.logits(states)

    def keep(self, going: Tensor) -> Tensor | None:
        kept = going.nonzero().squeeze(1)
        if len(kept) >= sampling.COMPACT_BELOW * len(going):
            return None
        self.cache.batch_select_indices(kept)
        self.mask = self.mask[kept]
        return kept


class _Texts:
    """Right-padded texts, and the positions in them that predict each completion's tokens."""

    def __init__(
        self, texts: list[tuple[list[int], int]], rows: list[int], device: torch.device
    ) -> None:
        width = max(len(text) for text, _ in texts) - 1  # the last token is predicted, never read
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
    prompts: Prompts, completions: Completions | Written, rows: Tensor, skipped: int = 0
) -> list[tuple[list[int], int]]:
    """The rows named, each prompt and completion in one piece, and where the latter begins.

    Of each prompt so many tokens are left out at its beginning.
    """
    group = len(completions.tokens) // len(prompts.ids)
    texts = []
    for row in rows.tolist():
        prompt = prompts.ids[row // group][prompts.mask[row // group]][skipped:].tolist()
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
        check_causal(folder)
        config = AutoConfig.from_pretrained(folder)
        for name, value in config.to_dict().items():
            # Log-probabilities in training must be those under which a response was drawn.
            if isinstance(value, float) and ("dropout" in name or name.endswith("pdrop")):
                setattr(config, name, 0.0)
        model, found = AutoModelForCausalLM.from_pretrained(
            folder, config=config, dtype=dtype, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, ImportError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{folder}: transformers cannot load it ({reason[:300]})") from error
    if missing := sorted(found["missing_keys"]):
        raise CheckpointError(
            f"{folder}: has no weights for {missing[0]} (of {len(missing)}); it is no causal "
            "language model, or not whole"
        )
    return TransformersModel(model.to(device))


def check_causal(folder: Path) -> None:
    """Refuse what reads a text as a whole, or writes one of another: it cannot be trained here."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(folder)
    masked = [name for name in config.architectures or () if "MaskedLM" in name]
    if masked or type(config) not in AutoModelForCausalLM._model_mapping:
        what = masked[0] if masked else f"model_type={config.model_type}"
        raise CheckpointError(
            f"{folder}: {what} is no causal language model, so it cannot be trained; "
            "give one that continues texts"
        )
