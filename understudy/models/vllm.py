"""Drawing with vLLM: its tokens, our numbers.

vLLM draws tokens from the base with the adapter of the moment; log-probabilities, margins and
entropy of these tokens are computed by the model that is trained. Not run against vLLM itself:
docs/vllm.md says what is assumed of it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from understudy.errors import ConfigError, StaleSamplerError
from understudy.models.ask_head import AskHead
from understudy.models.checkpoint import resolve
from understudy.models.policy import Policy
from understudy.models.sampling import Completions, Drawing, Prompts, Written
from understudy.models.scoring import noted
from understudy.models.tokens import Tokens

_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # the largest ranks that vLLM can be set to
_NEVER = -1e9  # a bias beyond every lead, and yet a number
# The trained model is on the same GPU. float32 weights would be served in half precision.
_OPTIONS = {"gpu_memory_utilization": 0.3}
_OURS = {"model", "enable_lora", "max_loras", "max_lora_rank", "logprobs_mode"}


@dataclass(frozen=True, slots=True)
class Vllm:
    """What is used of the library."""

    LLM: Any
    SamplingParams: Any
    LoRARequest: Any


class VllmEngine:
    """What `Policy.engine` calls: every call hands the adapter over, draws, and compares.

    tolerance: the largest mean distance per token between vLLM's log-probabilities of what it
    drew and ours; two engines in bfloat16 differ by about 0.01. options: vLLM's own.
    """

    def __init__(
        self,
        policy: Policy,
        options: Mapping[str, Any] | None = None,
        tolerance: float = 0.05,
        vllm: Vllm | None = None,
    ) -> None:
        if policy.lora is None:
            raise ConfigError(
                "sampler=vllm needs lora.rank of 1 or more: only an adapter is handed over, all "
                "weights would have to be loaded anew at every step"
            )
        if isinstance(policy.model.head, AskHead):
            raise ConfigError(
                "sampler=vllm serves no trained row for the request; load with train_row=False"
            )
        if taken := sorted(_OURS & set(options or {})):
            raise ConfigError(f"sampler_options.{taken[0]}: is set by the run itself; leave it out")
        self.vllm, self.tolerance, self.version = vllm or _installed(), tolerance, 0
        self.place = tempfile.TemporaryDirectory(prefix="understudy-vllm-")
        self.folder = Path(self.place.name)
        base = resolve(policy.base)
        if Tokens(base, policy.tokens.request).added:
            base = self.folder / "base"
            policy.merged(base, adapted=False)
        half = policy.bf16 or policy.model.embedding.weight.dtype == torch.bfloat16
        self.llm = self.vllm.LLM(
            model=str(base),
            enable_lora=True,
            max_loras=1,
            max_lora_rank=next((r for r in _RANKS if r >= policy.lora.rank), policy.lora.rank),
            logprobs_mode="raw_logprobs",  # before temperature and bias
            **(_OPTIONS | {"dtype": "bfloat16" if half else "float32"} | dict(options or {})),
        )

    def __call__(
        self,
        policy: Policy,
        prompts: Prompts,
        group: int,
        drawing: Drawing,
        uniforms: Tensor | None,
    ) -> Completions:
        copies = group if drawing.temperature == 0 else 1  # vLLM draws the likeliest text once
        rows = zip(prompts.ids, prompts.mask, strict=True)
        outputs = self.llm.generate(
            [{"prompt_token_ids": ids[mask].tolist()} for ids, mask in rows],
            self._params(policy, len(prompts.ids), group // copies, drawing, uniforms),
            lora_request=self._handed_over(policy),
            use_tqdm=False,
        )
        drawn = [one for output in outputs for one in list(output.outputs) * copies]
        written, theirs = _read(drawn, prompts.ids.device)
        completions, ours = noted(policy.model, prompts, written, policy.stops, drawing)
        self._check(float((ours - theirs)[written.mask].abs().mean()))
        if drawing.ask_shift == float("-inf") and completions.asked.any():
            raise StaleSamplerError("vLLM asked where asking is forbidden; set sampler=own")
        return completions

    def _params(
        self, policy: Policy, count: int, n: int, drawing: Drawing, uniforms: Tensor | None
    ) -> list[Any]:
        """What decides the draws of each prompt; a seed is of the prompt's own first number."""
        shift = max(drawing.ask_shift * (drawing.temperature or 1.0), _NEVER)  # of a raw logit
        seeds: list[int | None] = [None] * count
        if drawing.temperature != 0:
            assert uniforms is not None, "a temperature above 0 draws by uniform numbers"
            seeds = (uniforms.view(count, -1)[:, 0] * 2**31).long().tolist()
        stops = policy.stops
        return [
            self.vllm.SamplingParams(
                n=n,
                temperature=drawing.temperature,
                max_tokens=drawing.max_completion_length,
                stop_token_ids=[stops.end, stops.ask, *stops.ends],
                logit_bias={stops.ask: shift} if shift else None,
                logprobs=0,  # of the token drawn alone
                seed=seed,
                detokenize=False,
            )
            for seed in seeds
        ]

    def _handed_over(self, policy: Policy) -> Any:
        """The adapter as it is now, under a name and a number that nothing cached can have."""
        shutil.rmtree(self.folder / str(self.version), ignore_errors=True)
        self.version += 1
        folder = self.folder / str(self.version)
        policy.save_adapter(folder)
        return self.vllm.LoRARequest(f"version-{self.version}", self.version, str(folder))

    def _check(self, gap: float) -> None:
        if not gap <= self.tolerance:  # NaN is beyond it too
            raise StaleSamplerError(
                f"vLLM's log-probabilities are {gap:.3f} per token from ours, more than "
                f"{self.tolerance}: it does not serve version {self.version} of the adapter, or "
                "computes this model otherwise; set sampler=own"
            )


def _read(drawn: Sequence[Any], device: torch.device) -> tuple[Written, Tensor]:
    """The tokens drawn, and vLLM's own log-probabilities of them: (samples, positions)."""
    tokens = [torch.tensor(list(one.token_ids)) for one in drawn]
    if not all(map(len, tokens)):
        raise StaleSamplerError("vLLM drew no token at all for a prompt; set sampler=own")
    values = [
        torch.tensor([at[token].logprob for at, token in zip(*pair, strict=True)])
        for pair in ((one.logprobs, one.token_ids) for one in drawn)
    ]
    ids, theirs = (pad_sequence(rows, batch_first=True).to(device) for rows in (tokens, values))
    lengths = torch.tensor([len(row) for row in tokens], device=device)
    mask = torch.arange(ids.shape[1], device=device) < lengths[:, None]
    return Written(ids, mask), theirs


def _installed() -> Vllm:
    try:
        from vllm import LLM, SamplingParams
        from vllm.lora.request import LoRARequest
    except ImportError as error:
        raise ConfigError(
            "sampler=vllm needs vLLM, which is not installed here; pip install vllm, or set "
            "sampler=own"
        ) from error
    return Vllm(LLM, SamplingParams, LoRARequest)
