"""Any model of transformers as a frozen foundation: ViT, DINOv2, BERT, a causal language model."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from understudy.errors import ConfigError
from understudy.federate.foundations.blocks import find_blocks
from understudy.federate.foundations.foundation import HIDDEN, Adapter, Inputs, Target
from understudy.federate.foundations.inputs import IDS, MASK, PIXELS, picture_side, side
from understudy.federate.foundations.passes import Pass, Passes
from understudy.federate.foundations.pooling import OF_PICTURES, OF_TEXT, pooled
from understudy.federate.foundations.settings import Pooling
from understudy.registry import reason_of

Prepare = Callable[[Any], Mapping[str, Tensor]]


class TransformersFoundation:
    """A model whose blocks can be adapted per sample, and whose weights nothing changes.

    prepare: raw samples -> the model's inputs. size: of pictures, which the position embeddings are
    stretched to where the model was made for another.
    """

    kind: Literal["pictures", "text"]

    def __init__(
        self,
        name: str,
        module: nn.Module,
        prepare: Prepare,
        pooling: Pooling | None = None,
        depth: int | None = None,
        size: int | None = None,
    ) -> None:
        self.name, self.module, self._prepare, self._size = name, module, prepare, size
        module.requires_grad_(False).eval()
        stack, targets = find_blocks(name, module)
        if depth is not None and depth > len(stack):
            raise ConfigError(f"foundation={name}: depth={depth}, but it has {len(stack)} blocks")
        self._targets = targets[:depth]
        self.blocks = len(self._targets)
        del stack[self.blocks :]
        self._passes = Passes(module, list(stack), self._targets)
        self.kind = "text" if size is None else "pictures"
        self._options = self._accepted()
        states, self._extra = self._tried()
        self._tokens, self.width = states.shape[1:]
        self.token_width = self._width_of_tokens()
        self.pooling = self._chosen(pooling)

    def target(self, block: int) -> Target:
        if not 0 <= block < self.blocks:
            raise ConfigError(
                f"foundation={self.name}: there is no block {block}; it has blocks 0 to "
                f"{self.blocks - 1}"
            )
        return self._targets[block]

    def prepare(self, raw: Any) -> Inputs:
        return self._prepare(raw)

    @torch.no_grad()
    def activations(self, inputs: Inputs, before: int) -> Inputs:
        self.target(before)
        asked, given = self._begun(inputs)
        assert asked.start <= before, "these activations begin later"
        asked.stop = before
        count = len(next(iter(inputs.values())))
        if count:
            self._run(given, asked)
            hidden = asked.seen[before]
        else:
            hidden = torch.zeros(0, self._tokens, self.width)
        known = (PIXELS, f"{HIDDEN}{asked.start}")
        kept = {key: value for key, value in inputs.items() if key not in known}
        if self.kind == "text":
            hidden = F.pad(hidden, (0, 0, 0, kept[IDS].shape[1] - hidden.shape[1]))
        return kept | {f"{HIDDEN}{before}": hidden}

    def features(
        self,
        inputs: Inputs,
        adapters: Mapping[int, Adapter] | None = None,
        prompts: Tensor | None = None,
    ) -> Tensor:
        asked, given = self._begun(inputs)
        asked.adapters = adapters or {}
        for block in asked.adapters:
            self.target(block)
            assert block >= asked.start, "an adapted block lies before these activations"
        if prompts is None:
            return self.pooled(self._run(given, asked), given)
        return self.pooled(self._prompted(given, asked, prompts), given)

    def _prompted(self, given: Mapping[str, Tensor], asked: Pass, prompts: Tensor) -> Tensor:
        """The last states of a sample's own tokens. Patches have their positions already, so
        prompts stand after them; a text is read from the left, so they stand before it."""
        assert asked.given is None, "prompts are read by the first block"
        count = prompts.shape[1]
        if self.kind == "pictures":
            asked.last = prompts
            return self._run(given, asked)[:, :-count]
        embedding: Any = self.module.get_input_embeddings()  # type: ignore[operator]
        mask = given[MASK]
        most = getattr(self.module.config, "max_position_embeddings", None)
        if most is not None and count + mask.shape[1] > most:
            raise ConfigError(
                f"foundation={self.name}: {count} tokens of prompts and {mask.shape[1]} of a text "
                f"are more than the {most} it can read; lower foundation.longest"
            )
        embedded = {
            "inputs_embeds": torch.cat([prompts, embedding(given[IDS])], dim=1),
            MASK: torch.cat([mask.new_ones(len(mask), count), mask], dim=1),
        }
        return self._run(embedded, asked)[:, count:]

    @torch.no_grad()
    def states(self, inputs: Inputs) -> list[Tensor]:
        """What every block reads, from the first, and then the model's last states: (n, tokens,
        width) each."""
        asked, given = self._begun(inputs)
        asked.look = True
        last = self._run(given, asked)
        return [*(asked.seen[number] for number in range(self.blocks)), last]

    def pooled(self, states: Tensor, inputs: Inputs, how: Pooling | None = None) -> Tensor:
        """One vector of each sample, of some of its states."""
        mask = inputs[MASK] if self.kind == "text" else None
        return pooled(states, how or self.pooling, mask, self._extra)

    def _begun(self, inputs: Inputs) -> tuple[Pass, dict[str, Tensor]]:
        """What a pass asks for to go on from what is known, and what the model is given."""
        asked = Pass()
        given = {key: value for key, value in inputs.items() if key in (PIXELS, IDS, MASK)}
        for key, value in inputs.items():
            if key.startswith(HIDDEN):
                asked.start, asked.given = int(key.removeprefix(HIDDEN)), value
        if self.kind == "pictures" and PIXELS not in given:  # not looked at: their place alone
            assert asked.given is not None
            assert self._size is not None
            place = asked.given.new_zeros(1, 1, 1, 1)
            given[PIXELS] = place.expand(len(asked.given), self._channels, self._size, self._size)
        if self.kind == "text":
            lengths = given[MASK].sum(dim=1).tolist()
            longest = max(lengths, default=1)  # the rest is padding
            given = {key: value[:, :longest] for key, value in given.items()}
            if asked.given is not None:
                asked.given = asked.given[:, :longest]
        return asked, given

    def _run(self, given: Mapping[str, Tensor], asked: Pass) -> Tensor:
        assert not self.module.training, "a foundation stays in evaluation mode"
        with self._passes.during(asked):
            states: Tensor = self.module(**given, **self._options).last_hidden_state
        return states

    def _accepted(self) -> dict[str, bool]:
        """Arguments of its forward that are always given."""
        known = inspect.signature(self.module.forward).parameters
        options = {"use_cache": False} if "use_cache" in known else {}
        if self.kind == "pictures" and "interpolate_pos_encoding" in known:
            own = picture_side(self.module.config)
            options["interpolate_pos_encoding"] = own != self._size
        return options

    @property
    def _channels(self) -> int:
        return int(getattr(self.module.config, "num_channels", 3))

    @torch.no_grad()
    def _tried(self) -> tuple[Tensor, int]:
        """One sample through all blocks: what would go wrong in training does so now. Its last
        states, and how many of its tokens are no patches."""
        if self.kind == "pictures":
            assert self._size is not None
            inputs = {PIXELS: torch.zeros(1, self._channels, self._size, self._size)}
        else:
            inputs = dict(self._prepare(["a"]))
        asked = Pass(adapters=self._nothing(), look=True)
        try:
            last = self._run(inputs, asked)
            kept = [*asked.seen.values(), last]
            if len(kept) <= self.blocks or any(each.dim() != 3 for each in kept):
                raise TypeError("its blocks do not each turn (n, tokens, width) into the same")
        except Exception as error:
            raise ConfigError(
                f"foundation={self.name}: cannot be run block by block ({reason_of(error)}); give "
                "another model"
            ) from error
        if self.kind == "text":
            return last, 0
        patch = side(self.module.config.patch_size)  # type: ignore[union-attr]
        assert self._size is not None
        return last, last.shape[1] - (self._size // patch) ** 2

    def _width_of_tokens(self) -> int:
        if self.kind == "pictures":
            return self.width
        weight: Tensor = self.module.get_input_embeddings().weight  # type: ignore[operator]
        return weight.shape[1]

    def _nothing(self) -> dict[int, Adapter]:
        """Adapters of rank 1 for one sample that change nothing."""
        return {
            target.block: Adapter(
                torch.zeros(1, 1, target.inputs), torch.zeros(1, sum(target.outputs), 1)
            )
            for target in self._targets
        }

    def _chosen(self, pooling: Pooling | None) -> Pooling:
        known = OF_PICTURES if self.kind == "pictures" else OF_TEXT
        if self.kind == "pictures" and self._extra < 1:
            known = ("patches",)
        if pooling is not None and pooling not in known:
            raise ConfigError(
                f"foundation.pooling={pooling}: {self.name} has none; use {' or '.join(known)}"
            )
        if pooling is not None:
            return pooling
        return "last" if self.kind == "text" and _is_causal(self.module) else known[0]


def _is_causal(module: Any) -> bool:
    """Whether a model of text was made to continue it, so that its last token has read all."""
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

    kind = type(module.config)
    return kind in AutoModelForCausalLM._model_mapping and (
        kind not in AutoModelForMaskedLM._model_mapping
    )
