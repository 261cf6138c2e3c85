"""Drawing with vLLM: its tokens, our numbers.

vLLM draws tokens from the base with the adapter of the moment; log-probabilities, margins and
entropy of these tokens are computed by the model that is trained. Not run against vLLM itself:
docs/models.md says what is assumed of it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from understudy.errors import ConfigError
from understudy.models.checkpoint import resolve, save_base
from understudy.models.policy import Policy
from understudy.models.tokens import Tokens

_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # the largest ranks that vLLM can be told
_LARGEST_BIAS = 100.0  # vLLM clamps beyond it


class VllmEngine:
    """What `Policy.engine` calls: every call hands the adapter over, draws, and compares.

    tolerance: the largest mean distance per token between vLLM's log-probabilities of what it
    drew and ours; two engines in bfloat16 differ by about 0.01.
    """

    def __init__(
        self, policy: Policy, tolerance: float = 0.05, llm: Any = None, **options: Any
    ) -> None:
        if policy.lora is None:
            raise ConfigError(
                "sampler=vllm needs lora.rank of 1 or more: only an adapter is handed over, all "
                "weights would have to be loaded anew at every step"
            )
        if any(weight is getattr(policy.head, "row", None) for weight in policy.trainable()):
            raise ConfigError(
                "sampler=vllm serves no trained row for the request; load with train_row=False"
            )
        self.tolerance, self.version = tolerance, 0
        self.place = tempfile.TemporaryDirectory(prefix="understudy-vllm-")
        self.folder = Path(self.place.name)
        self.vllm = _vllm()
        base = resolve(policy.base)
        if Tokens(base, policy.tokens.request).added:
            base = self.folder / "base"
            save_base(policy, base)
        rank = next((size for size in _RANKS if size >= policy.lora.rank), policy.lora.rank)
        self.llm = llm or self.vllm.LLM(
            model=str(base),
            enable_lora=True,
            max_loras=1,
            max_lora_rank=rank,
            logprobs_mode="raw_logprobs",  # before temperature and bias
            **options,
        )
