"""What training keeps of a pass through the blocks until it goes back, estimated by size."""

from __future__ import annotations

from torch import nn

from understudy.models import memory
from understudy.models.local_model import LocalModel

# Bytes that are kept at once: on a GPU more, which is idle where products are small; but no more
# than this part of the memory that there is.
KEPT = {"cpu": 1 << 30, "cuda": 1 << 33}
_PART = 4
_LEAST = 256  # tokens: fewer would be slow


def tokens_kept(model: LocalModel, recomputed: bool = False) -> int:
    """How many tokens may be on their way through a model at once in training.

    About what each linear layer reads and gives is kept of a token, in float32. With blocks
    computed again only their inputs are, and all of one block with its gradients.
    """
    kept = sum(sum(weight.shape) for weight in _layers(model))
    if recomputed:
        kept = model.blocks * model.embedding.weight.shape[1] + 2 * kept // model.blocks
    allowed, there = KEPT.get(model.device.type, KEPT["cuda"]), memory.whole(str(model.device))
    if there is not None:
        allowed = min(allowed, there // _PART)
    return max(_LEAST, allowed // max(1, 4 * kept))


def _layers(model: LocalModel) -> list[nn.Parameter]:
    """The weights of the linear layers between the embedding and the head."""
    ends = (model.embedding.weight, model.head.weight)
    return [
        weight
        for name, weight in model.network.named_parameters()
        if weight.dim() == 2 and "lora_" not in name and not any(weight is end for end in ends)
    ]
