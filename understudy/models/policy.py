"""The local model as the loop sees it: text in, completions out, log-probabilities back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from understudy.errors import ConfigError
from understudy.models import adapters
from understudy.models.asking import asks_for_help
from understudy.models.built_in import BuiltInModel
from understudy.models.checkpoint import NotBuiltInError, load_decoder, read_shape, resolve
from understudy.models.frozen import frozen_cast
from understudy.models.gguf import names_gguf, unpacked_again
from understudy.models.hub import is_hub_name
from understudy.models.local_model import LocalModel
from understudy.models.lora import Lora
from understudy.models.request import give_request
from understudy.models.sampling import Completions, Drawing, Prompts, Stops, Written, cut
from understudy.models.scoring import final_states, noted, score
from understudy.models.stop_strings import StopStrings, stop_strings, text_before
from understudy.models.tokens import REQUEST, Tokens
from understudy.models.transformers_model import load_transformers_model
from understudy.types import Question

Backend = Literal["auto", "builtin", "transformers"]
Dtype = Literal["float32", "bfloat16"]

# Added to the margin of a response that asks in words: beyond every lead that logits have.
IN_WORDS = 1e3

_TEMPLATE = 512  # bytes: what a chat template and how to ask add to a message at most

Engine = Callable[["Policy", Prompts, int, Drawing, Tensor | None], Completions]


@dataclass(frozen=True, slots=True)
class Policy:
    """A model, its tokenizer, and where and how precisely it computes."""

    model: LocalModel
    tokens: Tokens
    folder: Path  # whose config and tokenizer files are copied on
    device: str = "cpu"
    bf16: bool = False
    base: str = ""  # what an adapter is saved as an adapter of
    lora: Lora | None = None
    engine: Engine | None = None  # draws in place of the model

    @classmethod
    def load(
        cls,
        model: str,
        device: str = "cpu",
        bf16: bool = False,
        *,
        lora: Lora | None = None,
        backend: Backend = "auto",
        dtype: Dtype = "float32",
        checkpointing: bool = False,
        request: str = REQUEST,
        train_row: bool = True,
        seed: int = 0,
        source: str = "",
    ) -> Policy:
        """Load 'tiny', a folder, a GGUF file or a name of the hub; a folder that holds an adapter
        is loaded with its base.

        bf16: products in bfloat16. dtype: of weights as they are kept; with lora the base's,
        adapters being float32. lora of rank 0 is none. request: how a response asks in words;
        '' for only by its token. train_row: with lora, train the request's row too. source: the
        model from which a run began; a base that was unpacked from it and has gone is unpacked
        again.
        """
        folder = resolve(model)
        lora = lora if lora and lora.rank else None
        base, saved = str(folder) if names_gguf(model) else model, None
        if (folder / adapters.CONFIG).is_file():
            base, saved, train_row = adapters.read_config(folder)
            if lora and (lora.rank, lora.alpha) != (saved.rank, saved.alpha):
                raise ConfigError(
                    f"lora.rank={lora.rank}, lora.alpha={lora.alpha}, but {folder} has "
                    f"rank {saved.rank} and alpha {saved.alpha}; give those"
                )
            base = unpacked_again(base, source)
        whole = resolve(base)
        if is_hub_name(base) and whole.parent.name == "snapshots":
            # An adapter fits these weights, wherever a branch goes later.
            base = f"{base.partition('@')[0]}@{whole.name}"
        local = _loaded(whole, device, backend, getattr(torch, dtype))
        tokens = Tokens(whole, request)
        if tokens.added:
            give_request(local, tokens)
        made: Lora | None = None
        if settings := saved or lora:
            made = adapters.adapt(local, settings, tokens.ask, train_row, seed)
        if saved:
            adapters.load_adapter(local, folder, tokens.ask)
        if checkpointing:
            local.recompute()
        local.network.to(device)
        here = base != "tiny" and Path(base).exists()
        named = str(Path(base).resolve()) if here else base
        return cls(local, tokens, whole, device, bf16, named, made)

    @property
    def stops(self) -> Stops:
        return Stops(self.tokens.end, self.tokens.ask, self.tokens.ends[1:])

    @property
    def longest(self) -> int:
        """Positions that the model was made for, prompt and completion together."""
        return self.model.longest

    @property
    def network(self) -> nn.Module:
        """What is trained."""
        return self.model.network

    def trainable(self) -> list[nn.Parameter]:
        """What an optimiser trains: every weight, or the adapter and the request's row."""
        return [weight for weight in self.network.parameters() if weight.requires_grad]

    def tensors(self) -> dict[str, Tensor]:
        """What is trained, by name."""
        named = self.network.named_parameters()
        return {name: weight for name, weight in named if weight.requires_grad}

    def prompts(self, questions: Sequence[Question]) -> Prompts:
        """Questions as the checkpoint's chat template writes them, or as plain text."""
        ids, mask = self.tokens.encode_questions(questions)
        stop = tuple(question.options.stop for question in questions)
        return Prompts(ids.to(self.device), mask.to(self.device), stop if any(stop) else ())

    def fits(self, question: Question, completion: int) -> bool:
        """Whether the model has positions for a question and so many tokens of an answer."""
        room = self.longest - completion
        size = sum(len(message.content.encode()) + _TEMPLATE for message in question.messages)
        if size <= room:
            return True  # a token is a byte of text at least
        return int(self.prompts([question]).mask.sum()) <= room

    def written(self, texts: Sequence[str]) -> Written:
        """Given texts as completions that end; special tokens in them are encoded as plain text."""
        ids, mask = self.tokens.encode_written(texts)
        return Written(ids.to(self.device), mask.to(self.device))

    def sample(
        self,
        prompts: Prompts,
        group: int,
        drawing: Drawing,
        uniforms: Tensor | None = None,
    ) -> Completions:
        positions = int(prompts.mask.sum(dim=1).max()) + drawing.max_completion_length
        if positions > self.longest:
            raise ConfigError(
                f"a prompt and its answer may take {positions} tokens, but the model was made for "
                f"{self.longest}; lower max_completion_length, or leave the longest questions out"
            )
        strings = self._stop_strings(prompts, group)
        with self._precision():
            if self.engine is not None:
                drawn = self.engine(self, prompts, group, drawing, uniforms)
                drawn = cut(drawn, strings, self.stops.end)
            else:
                stops = replace(self.stops, strings=strings)
                drawn = self.model.sample(prompts, group, stops, drawing, uniforms)
        return self._asking_in_words(drawn, drawing)

    def noted(self, prompts: Prompts, written: Written, drawing: Drawing) -> Completions:
        """Given completions as if they had been drawn here now."""
        with self._precision():
            drawn, _ = noted(self.model, prompts, written, self.stops, drawing)
        group = len(written.tokens) // max(len(prompts.ids), 1)
        drawn = cut(drawn, self._stop_strings(prompts, group), self.stops.end)
        return self._asking_in_words(drawn, drawing)

    def _stop_strings(self, prompts: Prompts, group: int) -> StopStrings | None:
        return stop_strings(self.tokens, prompts.stop, group, self.model.vocabulary)

    def score(
        self, prompts: Prompts, completions: Completions | Written, rows: Tensor, drawing: Drawing
    ) -> tuple[Tensor, Tensor]:
        with self._precision():
            return score(self.model, prompts, completions, rows, self.tokens.ask, drawing)

    def frozen_cast(self) -> AbstractContextManager[object]:
        """Around the passes of a step, forward and back: what is not trained is cast once."""
        return frozen_cast(self.model, torch.bfloat16) if self.bf16 else nullcontext()

    def states(self, prompts: Prompts, completions: Completions | Written, rows: Tensor) -> Tensor:
        """(rows, positions, width): the final states that predict completions' tokens."""
        with self._precision():
            return final_states(self.model, prompts, completions, rows)

    def texts(self, completions: Completions, prompts: Prompts | None = None) -> list[str]:
        """What completions say, without the stop strings of their prompts."""
        tokens, lengths = completions.tokens.tolist(), completions.mask.sum(dim=1).tolist()
        rows = zip(tokens, lengths, strict=True)
        texts = [self.tokens.decode(row[:length]) for row, length in rows]
        if prompts is None or not prompts.stop:
            return texts
        group = len(texts) // len(prompts.stop)
        ended = [text_before(text, prompts.stop[i // group]) for i, text in enumerate(texts)]
        return [text if end is None else end for text, end in zip(texts, ended, strict=True)]

    def save(self, folder: Path) -> None:
        """Write what `load` continues from: the whole model, or the adapter, which names its base,
        with the tokenizer beside it."""
        if self.lora:
            self.save_adapter(folder)
            self.tokens.save(folder, self.folder)
        else:
            self.merged(folder)

    def save_adapter(self, folder: Path) -> None:
        """Write the adapter alone, as peft reads it."""
        if self.lora is None:
            raise ConfigError(f"{folder}: there is no adapter to save; set lora.rank")
        adapters.save_adapter(self.model, folder, self.base, self.lora)

    def merged(self, folder: Path, adapted: bool = True) -> None:
        """Write a whole checkpoint that transformers loads, an adapter folded into its weights;
        or left out, where not adapted."""
        self.model.save(folder, resolve(self.base) if self.lora else self.folder, adapted)
        self.tokens.save(folder, self.folder)

    def _asking_in_words(self, drawn: Completions, drawing: Drawing) -> Completions:
        """Completions with those that end in the request in words counted as asking.

        Their margin says so whatever the threshold, in the order of their leads. Where asking is
        forbidden they have not asked: they are just no answer.
        """
        if not (self.tokens.request and self.tokens.writes_request):
            return drawn
        lengths, request = drawn.mask.sum(dim=1), self.tokens.request
        tail = 2 * len(self.tokens.encode_plain(request)) + 8
        rows = zip(drawn.tokens.tolist(), lengths.tolist(), strict=True)
        ends = [self.tokens.decode(row[max(0, count - tail) : count]) for row, count in rows]
        said = torch.tensor([asks_for_help(text, request) for text in ends])
        said = said.to(drawn.asked.device) & ~drawn.asked
        if not said.any():
            return drawn
        lead = drawn.ask_margins.masked_fill(~drawn.mask, float("-inf")).amax(dim=1)
        margins, last = drawn.ask_margins.clone(), lengths - 1
        margins[said, last[said]] = IN_WORDS + lead[said]
        if drawing.ask_shift == float("-inf"):
            return replace(drawn, ask_margins=margins)
        return replace(drawn, ask_margins=margins, asked=drawn.asked | said, in_words=said)

    def _precision(self) -> AbstractContextManager[object]:
        kind = torch.device(self.device).type
        return torch.autocast(kind, torch.bfloat16) if self.bf16 else nullcontext()


def _loaded(folder: Path, device: str, backend: Backend, dtype: torch.dtype) -> LocalModel:
    """The built-in decoder where it computes the model, or else transformers' own class."""
    if backend != "transformers":
        try:
            read_shape(folder)
            return BuiltInModel(load_decoder(folder, device, dtype))
        except NotBuiltInError:
            if backend == "builtin":
                raise
    return load_transformers_model(folder, device, dtype)
